package webhook

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// unpacking is how a body is unpacked.
type unpacking interface {
	// beside is the memory that it takes beside what goes in and what comes out.
	beside(body []byte) int64
	// reader reads what is packed, and takes no more beside than that.
	reader(body []byte) (io.Reader, error)
}

const (
	// gzipSize is what unpacking takes whose window is as large as that of gzip always is.
	gzipSize = 64 << 10
	// zstdWindow is the largest window that is unpacked, and zstdSize what it takes beside it: two blocks, and tables.
	zstdWindow = 8 << 20
	zstdSize   = 512 << 10
)

// unpacker is how a body is unpacked, nil where it is not packed. It is unpacked only when its sender is known, and no further than
// a body may be.
func unpacker(h http.Header) (unpacking, *refusal) {
	switch how := strings.ToLower(strings.TrimSpace(strings.Join(h.Values("Content-Encoding"), ","))); how {
	case "", "identity":
		return nil, nil
	case "gzip", "x-gzip":
		return byGzip{}, nil
	case "zstd":
		return byZstd{}, nil
	default:
		return nil, &refusal{
			status: http.StatusUnsupportedMediaType, reason: reasonInvalid, field: "Content-Encoding", text: "gzip and zstd are known",
		}
	}
}

type byGzip struct{}

func (byGzip) beside([]byte) int64 { return gzipSize }

func (byGzip) reader(body []byte) (io.Reader, error) { return gzip.NewReader(bytes.NewReader(body)) }

type byZstd struct{}

func (byZstd) beside(body []byte) int64 { return zstdSize + windowOf(body) }

func (byZstd) reader(body []byte) (io.Reader, error) {
	d, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(uint64(max(windowOf(body), zstd.MinWindowSize))))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

// windowOf is the largest window of what is packed by zstd, as far as it is that.
func windowOf(body []byte) (most int64) {
	for len(body) > 0 {
		var h zstd.Header
		if h.Decode(body) != nil || h.HeaderSize > len(body) {
			return most
		}
		body = body[h.HeaderSize:]
		if h.Skippable {
			body = body[min(int64(h.SkippableSize), int64(len(body))):]
			continue
		}
		window := h.WindowSize
		if h.SingleSegment {
			window = h.FrameContentSize
		}
		most = max(most, int64(min(window, zstdWindow)))
		if body = behindBlocks(body); h.HasCheckSum {
			body = body[min(4, len(body)):]
		}
	}
	return most
}

// behindBlocks is what comes behind the blocks of a frame (RFC 8878, 3.1.1.2).
func behindBlocks(body []byte) []byte {
	for len(body) >= 3 {
		header := int(body[0]) | int(body[1])<<8 | int(body[2])<<16
		size := header >> 3
		if repeated := header>>1&3 == 1; repeated {
			size = 1
		}
		body = body[min(3+size, len(body)):]
		if last := header&1 == 1; last {
			break
		}
	}
	return body
}

// unpack reads what is in a body that is packed.
func (r *reader) unpack(ctx context.Context, how unpacking, body []byte, most int64, tooLarge *refusal) ([]byte, *refusal) {
	wrong := invalid("", "it is not packed as Content-Encoding says")
	beside := how.beside(body)
	if refused := r.grant(ctx, beside); refused != nil {
		return nil, refused
	}
	defer r.giveBack(beside)
	packed, err := how.reader(body)
	if err != nil {
		return nil, wrong
	}
	unpacked, refused := r.read(ctx, packed, most, tooLarge)
	if refused != nil && refused.reason == reasonCut {
		return nil, wrong
	}
	return unpacked, refused
}
