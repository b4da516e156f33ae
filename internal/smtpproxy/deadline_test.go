package smtpproxy

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestDeadline: what is set is never earlier than what was asked for, at most a 64th
// of the time later, and not set again while it is.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d deadline
		var at time.Time
		count := 0
		set := func(to time.Time) error {
			at = to
			count++
			return nil
		}
		for i := range 1000 { // a second apart
			wait := []time.Duration{5 * time.Minute, 5 * time.Second, time.Hour, -time.Second}[i/250]
			due := time.Now().Add(wait)
			if err := d.extend(due, set); err != nil {
				t.Fatal(err)
			}
			if at.Before(due) || at.Sub(due) > max(0, wait/lateness) {
				t.Fatalf("%v for %v", at.Sub(due), wait)
			}
			time.Sleep(time.Second)
		}
		if want := 250/5 + 250 + 250/57 + 1 + 250; count != want {
			t.Errorf("set %d times, not %d", count, want)
		}
		// What has passed is no deadline, and one that could not be set neither.
		time.Sleep(time.Minute)
		failed := errors.New("failed")
		for range 2 {
			if err := d.extend(time.Now(), func(time.Time) error { return failed }); !errors.Is(err, failed) {
				t.Errorf("%v", err)
			}
		}
	})
}
