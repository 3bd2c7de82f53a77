-- A store on PostgreSQL as version 2 of its schema made and filled it. It never changes.

CREATE FUNCTION short_key(id text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    IF octet_length(id) < 256 THEN
        RETURN id;
    END IF;
    RETURN repeat(encode(sha256(convert_to(id, 'UTF8')), 'hex'), 4);
END $$;

CREATE FUNCTION begin_writing(store bigint, log bigint, application bigint)
RETURNS TABLE (newest bigint, view_name text, view_version bigint) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(store);
    PERFORM pg_advisory_xact_lock(log);
    RETURN QUERY SELECT (SELECT max(position) FROM events WHERE application_id = application), name, version FROM (SELECT 1) AS one LEFT JOIN inline_views ON TRUE ORDER BY name;
END $$;

CREATE FUNCTION confirm_writing(
    store bigint, log bigint, application bigint, known bigint, known_views text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(store);
    PERFORM pg_advisory_xact_lock(log);
    IF known <> coalesce((SELECT max(position) FROM events WHERE application_id = application), 0)
        OR known_views <> coalesce(
            (SELECT string_agg(name || ' ' || version, ', ' ORDER BY name) FROM inline_views), '')
    THEN
        RAISE EXCEPTION 'others have written' USING ERRCODE = 'CS001';
    END IF;
END $$;
CREATE TABLE migrations (version bigint NOT NULL, applied_at timestamptz NOT NULL, PRIMARY KEY (version));
CREATE TABLE inline_views (name text COLLATE "C" NOT NULL, version bigint NOT NULL, PRIMARY KEY (name));
CREATE TABLE events (application_id bigint NOT NULL, position bigint NOT NULL, category text COLLATE "C" NOT NULL, stream_id text COLLATE "C" NOT NULL, version bigint NOT NULL, type text COLLATE "C" NOT NULL, type_version bigint NOT NULL, at timestamptz NOT NULL, recorded_at timestamptz NOT NULL, command_id text COLLATE "C" NOT NULL, metadata json NOT NULL, data json NOT NULL, PRIMARY KEY (application_id, position));
CREATE UNIQUE INDEX IF NOT EXISTS events_version_once ON events (application_id, category, short_key(stream_id), version);
CREATE TABLE claims (application_id bigint NOT NULL, limit_name text COLLATE "C" NOT NULL, holder text COLLATE "C" NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS claims_holder_once ON claims (application_id, short_key(limit_name), short_key(holder));
CREATE TABLE limits (application_id bigint NOT NULL, limit_name text COLLATE "C" NOT NULL, used bigint NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS limits_limit_name_once ON limits (application_id, short_key(limit_name));
CREATE TABLE answers (application_id bigint NOT NULL, idempotency_key text COLLATE "C" NOT NULL, request text COLLATE "C" NOT NULL, answer json NOT NULL, recorded_at timestamptz NOT NULL, PRIMARY KEY (application_id, idempotency_key));
CREATE TABLE positions (follower text COLLATE "C" NOT NULL, upstream text COLLATE "C" NOT NULL, position bigint NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS positions_upstream_once ON positions (short_key(follower), short_key(upstream));
CREATE TABLE attachments (application_id bigint NOT NULL, position bigint NOT NULL, profile_id text COLLATE "C" NOT NULL, session_id text COLLATE "C" NOT NULL, at timestamptz NOT NULL, first_session boolean NOT NULL, PRIMARY KEY (application_id, position));
CREATE INDEX IF NOT EXISTS attachments_by_profile_id ON attachments (application_id, short_key(profile_id));
CREATE INDEX IF NOT EXISTS attachments_profile_id_alone ON attachments USING hash (profile_id);
CREATE INDEX IF NOT EXISTS attachments_session_id_alone ON attachments USING hash (session_id);
CREATE TABLE customer_sessions (application_id bigint NOT NULL, session_id text COLLATE "C" NOT NULL, version bigint NOT NULL, state text COLLATE "C" NOT NULL, profile_id text COLLATE "C" NOT NULL, coupon text COLLATE "C" NOT NULL, referral text COLLATE "C" NOT NULL, first_session boolean NOT NULL, total numeric NOT NULL, created timestamptz NOT NULL, updated timestamptz NOT NULL, closed timestamptz, update_count bigint NOT NULL, line_count bigint NOT NULL, unit_count bigint NOT NULL, returned_count bigint NOT NULL, command_id text COLLATE "C" NOT NULL, document json NOT NULL);
CREATE INDEX IF NOT EXISTS customer_sessions_by_state ON customer_sessions (application_id, state);
CREATE UNIQUE INDEX IF NOT EXISTS customer_sessions_session_id_once ON customer_sessions (application_id, short_key(session_id));
CREATE INDEX IF NOT EXISTS customer_sessions_session_id_alone ON customer_sessions USING hash (session_id);

INSERT INTO answers VALUES(1,'k-1','49b89d0ea175c978dbed4e7fdaf3bfd47075bce1342201ecdafbf8a1d664f2e7','[["order-1",2,2,1]]','2026-11-23T21:41:26.984372Z');
INSERT INTO attachments VALUES(1,1,'cust-7','order-1','2026-11-23T10:00:00.000000Z',true);
INSERT INTO attachments VALUES(1,5,'cust-7','order-2','2026-11-23T10:04:00.000000Z',false);
INSERT INTO claims VALUES(1,'coupon-redemption:SPRING-20','order-1');
INSERT INTO claims VALUES(1,'first-session:cust-7','order-1');
INSERT INTO customer_sessions VALUES(1,'order-1',4,'closed','cust-7','SPRING-20','',true,120,'2026-11-23T10:00:00.000000Z','2026-11-23T10:03:00.000000Z','2026-11-23T10:03:00.000000Z',4,1,2,0,'01a20a5b-5349-72a5-a780-69b78d0ba3fe','{"integrationId":"order-1","created":"2026-11-23T10:00:00Z","applicationId":1,"profileId":"cust-7","coupon":"SPRING-20","referral":"","state":"closed","cartItems":[{"sku":"9696","price":60,"quantity":2,"position":0,"returnedQuantity":0,"remainingQuantity":2}],"identifiers":[],"total":120,"attributes":{},"firstSession":true,"discounts":{},"updateCount":4,"updated":"2026-11-23T10:03:00Z"}');
INSERT INTO customer_sessions VALUES(1,'order-2',1,'open','cust-7','','',false,0,'2026-11-23T10:04:00.000000Z','2026-11-23T10:04:00.000000Z',NULL,1,0,0,0,'01a20a5b-534a-7b78-b1ff-8ec6f2503e51','{"integrationId":"order-2","created":"2026-11-23T10:04:00Z","applicationId":1,"profileId":"cust-7","coupon":"","referral":"","state":"open","cartItems":[],"identifiers":[],"total":0,"attributes":{},"firstSession":false,"discounts":{},"updateCount":1,"updated":"2026-11-23T10:04:00Z"}');
INSERT INTO events VALUES(1,1,'session','order-1',1,'SessionOpened',1,'2026-11-23T10:00:00.000000Z','2026-11-23T21:41:26.982767Z','01a20a5b-5346-76f4-8acb-b1d14f3023bc','{}','{"firstSession":true,"profileId":"cust-7"}');
INSERT INTO events VALUES(1,2,'session','order-1',2,'ItemAdded',1,'2026-11-23T10:01:00.000000Z','2026-11-23T21:41:26.984292Z','01a20a5b-5348-7d2d-9cf0-c32886871659','{}','{"item":{"price":60,"sku":"9696"},"lineQuantity":2,"position":0,"quantity":2}');
INSERT INTO events VALUES(1,3,'session','order-1',3,'CouponApplied',1,'2026-11-23T10:02:00.000000Z','2026-11-23T21:41:26.985160Z','01a20a5b-5349-73fe-bcb2-4fe255360941','{}','{"coupon":"SPRING-20"}');
INSERT INTO events VALUES(1,4,'session','order-1',4,'SessionClosed',1,'2026-11-23T10:03:00.000000Z','2026-11-23T21:41:26.985935Z','01a20a5b-5349-72a5-a780-69b78d0ba3fe','{}','{"coupon":"SPRING-20","total":120}');
INSERT INTO events VALUES(1,5,'session','order-2',1,'SessionOpened',1,'2026-11-23T10:04:00.000000Z','2026-11-23T21:41:26.986905Z','01a20a5b-534a-7b78-b1ff-8ec6f2503e51','{}','{"firstSession":false,"profileId":"cust-7"}');
INSERT INTO inline_views VALUES('attachments',1);
INSERT INTO inline_views VALUES('customer_sessions',1);
INSERT INTO limits VALUES(1,'coupon-redemption:SPRING-20',1);
INSERT INTO limits VALUES(1,'first-session:cust-7',1);
INSERT INTO migrations VALUES(2,'2026-11-23T21:41:26.980195Z');

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the log is only added to'; END $$;
CREATE TRIGGER events_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
