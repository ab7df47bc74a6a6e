package webhook

import (
	"mime"
	"net/http"
	"strings"
)

// checkContent refuses what says that it is no JSON, before it is read. Who says nothing about it, or that it is a text, is taken at
// what it posts: many senders do. What is a CloudEvent, and of what form, its format tells.
func checkContent(format string, h http.Header) *refusal {
	says := h.Get("Content-Type")
	if format == formatCloudEvents || says == "" {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(says) // parameters that are wrong say nothing about the type
	if strings.HasSuffix(kind, "json") || kind == "text/plain" || kind == "application/octet-stream" {
		return nil
	}
	return &refusal{
		status: http.StatusUnsupportedMediaType, reason: reasonInvalid, field: "Content-Type",
		text: "is not application/json: have the sender post JSON, and say so",
	}
}
