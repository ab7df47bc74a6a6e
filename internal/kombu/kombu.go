// Package kombu undoes what kombu, the library below oslo.messaging, does to a body when it is told to compress
// (kombu_compression in the section oslo_messaging_rabbit).
//
// The names are those of kombu's module compression; what it calls gzip is zlib (RFC 1950).
package kombu

import (
	"bytes"
	"compress/bzip2"
	"compress/zlib"
	"fmt"
	"io"
)

const (
	// Property is the header of an AMQP message that says how its body is compressed.
	Property = "compression"
	// Header is the header of a raw event that says the same.
	Header = "Evt-Compression"
)

// Decompress returns a body as it was before it was compressed, at most of that many bytes. An error says that method is
// not known, that the body is not what method says, or that it is larger.
func Decompress(method string, body []byte, most int64) ([]byte, error) {
	var plain io.Reader
	switch method {
	case "application/x-gzip":
		z, err := zlib.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		plain = z
	case "application/x-bz2":
		plain = bzip2.NewReader(bytes.NewReader(body))
	default:
		return nil, fmt.Errorf("decompress: the method %.64q is not known", method)
	}
	out, err := io.ReadAll(io.LimitReader(plain, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("decompress: %w", err)
	case int64(len(out)) > most:
		return nil, fmt.Errorf("decompress: more than %d bytes", most)
	}
	return out, nil
}
