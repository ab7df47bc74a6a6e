// Package jetstream is the only speaker of NATS on the way in: it connects to a cluster or runs the embedded server,
// creates the streams, appends atomic batches with the cursor behind them, reads RAW for the normalizer, and holds the
// leases that save processes from doing each other's work.
//
// Writers publish on "ingest.…"; the streams store it as "events.…" and NORMALIZED hands on what it has committed. So
// a plain subscriber on events.normalized.* sees committed events only. Streams are found by their name, never by
// subject.
//
// It refuses servers older than MinVersion, which would store the messages of a batch one by one, and it never changes
// the settings of a stream that exists unless it is told to.
package jetstream
