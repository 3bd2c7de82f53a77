-- A store on SQLite as version 1 of its schema made and filled it. It never changes.

CREATE TABLE migrations (version INTEGER NOT NULL, applied_at TEXT NOT NULL, PRIMARY KEY (version));
CREATE TABLE inline_views (name TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (name));
CREATE TABLE applications (application_id INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (application_id));
CREATE TABLE events (application_id INTEGER NOT NULL, position INTEGER NOT NULL, category TEXT NOT NULL, stream_id TEXT NOT NULL, version INTEGER NOT NULL, type TEXT NOT NULL, type_version INTEGER NOT NULL, at TEXT NOT NULL, recorded_at TEXT NOT NULL, command_id TEXT NOT NULL, metadata TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (application_id, position), UNIQUE (application_id, category, stream_id, version));
CREATE TABLE claims (application_id INTEGER NOT NULL, limit_name TEXT NOT NULL, holder TEXT NOT NULL, PRIMARY KEY (application_id, limit_name, holder)) WITHOUT ROWID;
CREATE TABLE limits (application_id INTEGER NOT NULL, limit_name TEXT NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (application_id, limit_name)) WITHOUT ROWID;
CREATE TABLE answers (application_id INTEGER NOT NULL, idempotency_key TEXT NOT NULL, request TEXT NOT NULL, answer TEXT NOT NULL, recorded_at TEXT NOT NULL, PRIMARY KEY (application_id, idempotency_key)) WITHOUT ROWID;
CREATE TABLE attachments (application_id INTEGER NOT NULL, position INTEGER NOT NULL, profile_id TEXT NOT NULL, session_id TEXT NOT NULL, at TEXT NOT NULL, first_session INTEGER NOT NULL, PRIMARY KEY (application_id, position)) WITHOUT ROWID;
CREATE INDEX attachments_by_profile_id ON attachments (application_id, profile_id);
CREATE TABLE customer_sessions (application_id INTEGER NOT NULL, session_id TEXT NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL, profile_id TEXT NOT NULL, coupon TEXT NOT NULL, referral TEXT NOT NULL, first_session INTEGER NOT NULL, total NUMERIC NOT NULL, created TEXT NOT NULL, updated TEXT NOT NULL, closed TEXT, update_count INTEGER NOT NULL, line_count INTEGER NOT NULL, unit_count INTEGER NOT NULL, returned_count INTEGER NOT NULL, command_id TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (application_id, session_id));
CREATE INDEX customer_sessions_by_state ON customer_sessions (application_id, state);

INSERT INTO "answers" VALUES(1,'k','fe93cb77f6d966fa8ed4b0a3e7a3c9bc51aeb28c59b867190e9b12580e4c9012','[["s",2,2,2]]','2026-11-23T10:00:00.000000Z');
INSERT INTO "applications" VALUES(1,4);
INSERT INTO "attachments" VALUES(1,1,'p','s','2026-11-23T10:00:00.000000Z',1);
INSERT INTO "claims" VALUES(1,'coupon-redemption:C','s');
INSERT INTO "claims" VALUES(1,'first-session:p','s');
INSERT INTO "customer_sessions" VALUES(1,'s',4,'closed','p','C','',1,1.5,'2026-11-23T10:00:00.000000Z','2026-11-23T10:00:00.000000Z','2026-11-23T10:00:00.000000Z',3,1,1,0,'01a207d9-2100-7ec8-a003-211d33a44088','{"integrationId":"s","created":"2026-11-23T10:00:00Z","applicationId":1,"profileId":"p","coupon":"C","referral":"","state":"closed","cartItems":[{"sku":"a","price":1.5,"quantity":1,"position":0,"returnedQuantity":0,"remainingQuantity":1}],"identifiers":[],"total":1.5,"attributes":{},"firstSession":true,"discounts":{},"updateCount":3,"updated":"2026-11-23T10:00:00Z"}');
INSERT INTO "events" VALUES(1,1,'session','s',1,'SessionOpened',1,'2026-11-23T10:00:00.000000Z','2026-11-23T10:00:00.000000Z','01a207d9-2100-78f9-8386-998b8f138056','{}','{"firstSession":true,"profileId":"p"}');
INSERT INTO "events" VALUES(1,2,'session','s',2,'CouponApplied',1,'2026-11-23T10:00:00.000000Z','2026-11-23T10:00:00.000000Z','01a207d9-2100-78f9-8386-998b8f138056','{}','{"coupon":"C"}');
INSERT INTO "events" VALUES(1,3,'session','s',3,'ItemAdded',1,'2026-11-23T10:00:00.000000Z','2026-11-23T10:00:00.000000Z','01a207d9-2100-7920-ac62-61d8c0899981','{"actor":"ada"}','{"item":{"price":1.5,"sku":"a"},"lineQuantity":1,"position":0,"quantity":1}');
INSERT INTO "events" VALUES(1,4,'session','s',4,'SessionClosed',1,'2026-11-23T10:00:00.000000Z','2026-11-23T10:00:00.000000Z','01a207d9-2100-7ec8-a003-211d33a44088','{}','{"coupon":"C","total":1.5}');
INSERT INTO "inline_views" VALUES('attachments',1);
INSERT INTO "inline_views" VALUES('customer_sessions',1);
INSERT INTO "limits" VALUES(1,'coupon-redemption:C',1);
INSERT INTO "limits" VALUES(1,'first-session:p',1);
INSERT INTO "migrations" VALUES(1,'2026-11-23T10:00:00.000000Z');
