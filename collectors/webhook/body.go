package webhook

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// unpacking reads what is packed.
type unpacking func(body []byte) (io.Reader, error)

// maxZstd is the memory that unpacking may take beside what comes out.
const maxZstd = 8 << 20

// unpacker is how a body is unpacked, nil where it is not packed. It is unpacked only when its sender is known, and no further than
// a body may be.
func unpacker(h http.Header) (unpacking, *refusal) {
	switch how := strings.ToLower(strings.TrimSpace(h.Get("Content-Encoding"))); how {
	case "", "identity":
		return nil, nil
	case "gzip", "x-gzip":
		return func(body []byte) (io.Reader, error) { return gzip.NewReader(bytes.NewReader(body)) }, nil
	case "zstd":
		return func(body []byte) (io.Reader, error) {
			d, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxZstd))
			if err != nil {
				return nil, err
			}
			return d.IOReadCloser(), nil
		}, nil
	default:
		return nil, &refusal{
			status: http.StatusUnsupportedMediaType, reason: reasonInvalid, field: "Content-Encoding", text: "gzip and zstd are known",
		}
	}
}
