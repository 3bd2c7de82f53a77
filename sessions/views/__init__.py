"""What a projection is, and the views that writers keep in the transaction of the events."""
