package sessions

import (
	"context"
	"errors"
	"fmt"
)

// keysEach is how many one-time keys the library makes for a new device.
const keysEach = 812

// giveKeys lets the database fill in one-time keys with each new device, which nobody will use here. The library,
// which syncs each of them to the disk, finds them there, and makes only the few more that it always does when
// the server has none: pairing is four times as quick, and the tables are as large as in life.
func giveKeys(ctx context.Context, d Database) (err error) {
	db, dialect, err := openDevices(d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	statements := []string{ // no common table expressions in triggers, hence a table
		"CREATE TABLE bench_numbers (n INTEGER)",
		fmt.Sprintf("INSERT INTO bench_numbers WITH RECURSIVE i(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM i WHERE n < %d) SELECT n FROM i", keysEach),
		`CREATE TRIGGER bench_keys AFTER INSERT ON whatsmeow_device BEGIN
			INSERT INTO whatsmeow_pre_keys (jid, key_id, key, uploaded) SELECT NEW.jid, n, randomblob(32), true FROM bench_numbers;
		END`,
	}
	if dialect != "sqlite" {
		statements = []string{
			fmt.Sprintf(`CREATE FUNCTION bench_keys() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				INSERT INTO whatsmeow_pre_keys (jid, key_id, key, uploaded)
					SELECT NEW.jid, n, sha256(convert_to(NEW.jid || n, 'UTF8')), true FROM generate_series(1, %d) n;
				RETURN NULL;
			END $$`, keysEach),
			"CREATE TRIGGER bench_keys AFTER INSERT ON whatsmeow_device FOR EACH ROW EXECUTE FUNCTION bench_keys()",
		}
	}
	for _, statement := range statements {
		if _, err = db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
