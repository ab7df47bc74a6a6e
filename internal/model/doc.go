// Package model runs the whole pipeline against every way in which what it stands on may fail. It has tests only.
//
// The real parts (collectors.Loop with its memory, publisher.Raw, normalizer.Service, publisher.Normalized) run as several
// processes over models of everything else: the streams, the object store, the consumer of raw events, a service that is
// polled and one that is a queue. They run in virtual time, and one at a time: each request waits until a scheduler
// serves it, and everything else stands still meanwhile. The scheduler decides two things, which request comes next and what
// becomes of it. A list of these decisions is all that makes one run differ from another. So a run can be repeated, all
// runs with few decisions can be gone through, and one that fails can be made smaller.
//
// # What the model says of a stream
//
// A batch is stored whole or not at all. It is refused (Fenced) when another message than expected is the last on the
// cursor's subject, or on the subject of its fence, if it has messages; a fence that is wrong is told before a cursor that
// is. It is refused when a message is too large or the stream is full. What is stored is contiguous, the cursor last; the
// cursor before it is rolled up. conformance_test.go holds this against a real server.
//
// An append may be stored and answered; stored, and the answer lost; under way, to be stored at any later time, also after
// other attempts and after its writer's death, or never; refused for now. Its writer may die before, while or after it is
// stored, or be told to stop. A cursor may be read from a replica that is one write behind, or has nothing at all:
// the latter stands for one that lags for longer than a reader waits. Identities are all there (Memory promises that).
//
// The feed breaks off, hands over one message instead of all, everything a second time, or loses one, and is taken
// over by whoever opens it. RAW may be made anew, lose its tail, or drop events too early.
//
// # What is checked
//
// After every batch, because a subscriber may look at any time. RAW has each event once, in its source's order, numbered
// without a gap; the cursor says exactly what is before it, never moves back, and neither it nor a watermark covers an
// event that is not there. NORMALIZED has what becomes of RAW, in its order, each once, dead letters in their place,
// all of a raw event in one batch. An event is acknowledged upstream only when it is durable. In the end everything is
// there, or, after a disaster, the normalizer has stopped and says which.
//
// # How to use it
//
// TestEverySchedule goes through all schedules of small worlds, within bounds that fit a minute; -model.deep goes further.
// A schedule that fails is printed with what happened, and repeated by -model.replay. TestRandomSchedules draws
// schedules of larger worlds (-rapid.checks), and shrinks what fails. TestDefectsAreFound plants defects, each of
// which must be found: a new kind of fault belongs there, too.
package model
