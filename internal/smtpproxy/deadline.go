package smtpproxy

import "time"

// lateness is the share of its time by which a deadline may come too late: one in so
// many. That of five minutes is then set once in five seconds, and not for each line.
const lateness = 64

// A deadline is that of reading or writing a connection, where nobody else sets it.
type deadline struct {
	at time.Time // what was set last; zero when that is not known
}

// extend sets a deadline by set, unless the one that was set is as good: it is never
// earlier than due, and hardly later.
func (d *deadline) extend(due time.Time, set func(time.Time) error) error {
	late := max(0, time.Until(due)/lateness)
	if !d.at.Before(due) && !d.at.After(due.Add(late)) {
		return nil
	}
	d.at = due.Add(late)
	err := set(d.at)
	if err != nil {
		d.at = time.Time{}
	}
	return err
}
