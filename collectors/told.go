package collectors

import "time"

// Told is a moment as it may be told in a watermark: by the earlier of what the clock said at it and of what the clock
// would have said had nobody set it since began. A clock that was set while the process ran can so make a watermark late,
// and not promise what nobody can know. Both times must come from time.Now; a zero began says nothing.
func Told(began, at time.Time) time.Time {
	if began.IsZero() {
		return at
	}
	return told(began, at, at.Sub(began))
}

// told is Told, with the time that passed as a clock measures it that nobody can set.
func told(began, at time.Time, passed time.Duration) time.Time {
	at = at.Round(0) // what is told goes to other machines: without the monotonic reading
	if steady := began.Round(0).Add(passed); steady.Before(at) {
		return steady
	}
	return at
}
