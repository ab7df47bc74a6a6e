package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Two restores may be at work at once, on a cluster: one whose operator took it for dead, and the next one. Each would delete what the
// other has made and, worse, take away the mark that stands for both. So whoever works behind the mark claims it first, with a run id of
// his own, and looks before each step whether the claim is his still: the last one counts. The claim is an entry of the bucket OWNERS and
// no part of the mark, because a server that is killed while it writes the settings of a stream may not find it again, and with it
// the mark, in the middle of a restore; an entry is written whole or not at all.

const claimSubject = "$KV." + BucketOwners + ".restore"

// restoreClaim says who works behind the mark.
type restoreClaim struct {
	Run string    `json:"run"`
	At  time.Time `json:"at"`
	// Dir is the backup that is restored, "" for who abandons the restore.
	Dir string `json:"dir,omitempty"`
	// Backups are the ids of those that were restored, or begun to be, since the mark stands.
	Backups []string `json:"backups,omitempty"`
}

// errTakenOver says that another one has claimed the mark.
var errTakenOver = errors.New("nothing more was done")

func (m *restoreClaim) takenOver() error {
	if m == nil {
		return invalid("restore", fmt.Errorf("the bucket %s was made anew meanwhile: %w", BucketOwners, errTakenOver))
	}
	what := "a `restore --abandon`"
	if m.Dir != "" {
		what = "another restore, of " + m.Dir + ","
	}
	return invalid("restore", fmt.Errorf("%s began at %s and has taken this one over: %w; let that one end", what,
		m.At.Format(time.RFC3339), errTakenOver))
}

// claim makes the mark that is there, or will be, that of this run. marked tells whether it is there.
func (c *Client) claim(ctx context.Context, b *Backup, marked bool) (*restoreClaim, error) {
	mine := &restoreClaim{Run: nuid.Next(), At: time.Now().UTC().Truncate(time.Second)}
	if marked {
		was, err := c.claimed(ctx)
		if err != nil {
			return nil, err
		}
		if was != nil {
			mine.Backups = was.Backups
		}
	}
	if b != nil {
		mine.Dir = b.dir
		if dir, err := filepath.Abs(b.dir); err == nil {
			mine.Dir = dir
		}
		if !slices.Contains(mine.Backups, b.ID) {
			mine.Backups = append(slices.Clone(mine.Backups), b.ID)
		}
	}
	text, err := json.Marshal(mine)
	if err != nil {
		return nil, err
	}
	_, err = ask(ctx, func(ctx context.Context) (*natsjs.PubAck, error) { return c.js.Publish(ctx, claimSubject, text) })
	return mine, err
}

// claimed returns the claim that counts, nil if there is none.
func (c *Client) claimed(ctx context.Context) (*restoreClaim, error) {
	m, err := ask(ctx, func(ctx context.Context) (*record, error) { return c.lastMessage(ctx, streamOwners, claimSubject) })
	if err != nil || m == nil {
		return nil, err
	}
	last := &restoreClaim{}
	if err := json.Unmarshal(m.Data, last); err != nil {
		return nil, fmt.Errorf("read %s: %w", claimSubject, err)
	}
	return last, nil
}

// holds returns an error if the claim is no longer the one that counts.
func (c *Client) holds(ctx context.Context, mine *restoreClaim) error {
	last, err := c.claimed(ctx)
	if err == nil && (last == nil || last.Run != mine.Run) {
		err = last.takenOver()
	}
	return err
}
