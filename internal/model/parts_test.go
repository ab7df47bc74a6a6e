package model_test

import (
	"stackstream/collectors"
	"stackstream/normalizer"
	"stackstream/publisher"
)

// parts wraps the parts of the pipeline where they meet, to plant a defect. A nil function leaves its part as it is.
type parts struct {
	wrapSource    func(collectors.Source) collectors.Source
	wrapWriter    func(collectors.Writer) collectors.Writer
	wrapMemory    func(collectors.Memory) collectors.Memory
	wrapLog       func(l log) publisher.Log
	wrapCommitter func(normalizer.Committer, *world) normalizer.Committer
	wrapFeed      func(feed) normalizer.Feed
}

func (p parts) source(s collectors.Source) collectors.Source {
	if p.wrapSource == nil {
		return s
	}
	return p.wrapSource(s)
}

func (p parts) writer(w collectors.Writer) collectors.Writer {
	if p.wrapWriter == nil {
		return w
	}
	return p.wrapWriter(w)
}

func (p parts) memory(m collectors.Memory) collectors.Memory {
	if p.wrapMemory == nil {
		return m
	}
	return p.wrapMemory(m)
}

func (p parts) log(l log) publisher.Log {
	if p.wrapLog == nil {
		return l
	}
	return p.wrapLog(l)
}

func (p parts) committer(c normalizer.Committer, w *world) normalizer.Committer {
	if p.wrapCommitter == nil {
		return c
	}
	return p.wrapCommitter(c, w)
}

func (p parts) feed(f feed) normalizer.Feed {
	if p.wrapFeed == nil {
		return f
	}
	return p.wrapFeed(f)
}
