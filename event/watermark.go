package event

import "time"

// Watermark says where one source of a provider safely stands.
type Watermark struct {
	Provider Provider `json:"provider"`
	Source   Source   `json:"source"`
	// Collected and Normalized are positions in RAW: the last raw event committed, and the last one normalized.
	Collected  Seq `json:"collected"`
	Normalized Seq `json:"normalized"`
	// CollectedTime: everything the source showed up to then is in RAW. NormalizedTime: and is normalized.
	CollectedTime  time.Time `json:"collected_time,omitzero"`
	NormalizedTime time.Time `json:"normalized_time,omitzero"`
	// LagEvents and Lag are what lies between the two.
	LagEvents uint64        `json:"lag_events"`
	Lag       time.Duration `json:"lag_ns"`
	// WrittenAt is when the collector last wrote its cursor, by its clock.
	WrittenAt time.Time `json:"written_at,omitzero"`
	Owner     string    `json:"owner,omitempty"`
	// Retired: the source has nothing left to read, and does not collect any more.
	Retired bool `json:"retired,omitempty"`
}

// NewWatermark compares the two cursors. A source that was never normalized has a zero SourcePosition.
func NewWatermark(p Provider, s Source, raw RawCursor, norm SourcePosition) Watermark {
	w := Watermark{
		Provider: p, Source: s,
		Collected: raw.Position, Normalized: norm.Position,
		CollectedTime: raw.Watermark, NormalizedTime: norm.Watermark,
		WrittenAt: raw.WrittenAt, Owner: raw.Owner, Retired: raw.Retired,
	}
	if norm.Position >= raw.Position {
		// Nothing lies between: what is collected is normalized, up to the same time.
		w.NormalizedTime = raw.Watermark
		return w
	}
	// What a source reads again after it was rewound may lie before what was normalized then.
	w.NormalizedTime = earlier(w.NormalizedTime, raw.Watermark)
	if raw.Rewound != nil && norm.Position <= raw.Rewound.Position {
		w.NormalizedTime = earlier(w.NormalizedTime, raw.Rewound.To)
	}
	w.LagEvents = uint64(raw.Position - norm.Position)
	if norm.Position > 0 && raw.Received.After(norm.Received) {
		w.Lag = raw.Received.Sub(norm.Received)
	}
	return w
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Role says which half of the pipeline a Status is about.
type Role string

// The roles.
const (
	RoleCollector  Role = "collector"
	RoleNormalizer Role = "normalizer"
)

// State is what a collector or a normalizer of one provider is doing.
type State string

// The states.
const (
	StateStarting State = "starting" // choosing a source, reading the cursor
	StateStandby  State = "standby"  // another process holds the lease
	StateLive     State = "live"     // working
	StateDegraded State = "degraded" // working, but something is wrong that the reason tells
	StateBackoff  State = "backoff"  // something refused or failed; trying again
	StateStopped  State = "stopped"  // can't go on without an operator (raw-expired, raw-regressed)
	StateIdle     State = "idle"     // nothing to do by configuration (source none)
	StatePaused   State = "paused"   // an operator has stopped it
)

// Status is a change of state, with the reason where there is one. It never has a secret in it.
type Status struct {
	Provider Provider
	Source   Source // empty for a normalizer and before a source is chosen
	Role     Role
	State    State
	Reason   string
}
