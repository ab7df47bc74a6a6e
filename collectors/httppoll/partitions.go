package httppoll

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"stackstream/internal/records"
)

// Partitions are parts of the service that are read one by one, each with a cursor of its own. They are Values, or what a
// request lists.
type Partitions struct {
	Values []string `yaml:"values"`
	// As is the name by which texts and expressions have the value: partition.region.
	As string `yaml:"as"`
	// Request asks for the list, Path and Shape say where in the answer it is, Pagination how it goes on.
	Request    PartitionRequest `yaml:"request"`
	Path       string           `yaml:"path"`
	Shape      records.Shape    `yaml:"shape"`
	Pagination Pagination       `yaml:"pagination"`
	// Value is an expression of rec, an element of the list; Where chooses among them.
	Value string `yaml:"value"`
	Where string `yaml:"where"`
	// Every is how often the list is read again.
	Every time.Duration `yaml:"every"`
	// AllowEmpty takes an empty list for one: else it is an error.
	AllowEmpty bool `yaml:"allow_empty"`
	// Forget is how long a partition that is no longer listed keeps its cursor.
	Forget time.Duration `yaml:"forget"`
	// Concurrency is how many are read at once.
	Concurrency int `yaml:"concurrency"`
}

// PartitionRequest is what is asked for the list of partitions.
type PartitionRequest struct {
	URL     string              `yaml:"url"`
	Method  string              `yaml:"method"`
	Query   map[string][]string `yaml:"query"`
	Headers map[string]string   `yaml:"headers"`
	Body    string              `yaml:"body"`
}

const minForget = 24 * time.Hour

func defaultPartitions() Partitions {
	return Partitions{
		As: "partition", Request: PartitionRequest{Method: http.MethodGet}, Shape: records.List,
		Pagination: Pagination{Type: PageNone, Send: Send{In: "query"}, First: 1, MaxPages: 1000},
		Every:      10 * time.Minute, Forget: 30 * 24 * time.Hour, Concurrency: 1,
	}
}

// listed tells whether a request lists the partitions.
func (c Partitions) listed() bool { return c.Request.URL != "" }

var partitionName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (c Partitions) validate(ps *problems) {
	if !partitionName.MatchString(c.As) {
		ps.add("partitions.as", "%q is no name of small letters, digits and _", c.As)
	}
	if c.Concurrency < 1 || c.Concurrency > maxConcurrency {
		ps.add("partitions.concurrency", "must be from 1 to %d", maxConcurrency)
	}
	if c.Forget < minForget {
		ps.add("partitions.forget", "must be at least %s: a list that is wrong for a while must cost nothing", minForget)
	}
	if c.listed() {
		c.validateList(ps)
	} else if c.Path != "" || c.Value != "" || c.Where != "" || c.AllowEmpty || c.Request.Body != "" || len(c.Request.Query) > 0 ||
		len(c.Request.Headers) > 0 || c.Pagination.Type != PageNone {
		ps.add("partitions.request.url", "is missing: where the partitions are listed")
	}
	seen := map[string]bool{}
	for i, v := range c.Values {
		field := "partitions.values[" + strconv.Itoa(i) + "]"
		switch {
		case v == "":
			ps.add(field, "is empty")
		case seen[v]:
			ps.add(field, "%q is there twice", v)
		}
		seen[v] = true
	}
}

func (c Partitions) validateList(ps *problems) {
	const at = "partitions.request"
	if len(c.Values) > 0 {
		ps.add("partitions.values", "can't be set together with request")
	}
	ps.address(at+".url", c.Request.URL)
	ps.oneOf(at+".method", c.Request.Method, http.MethodGet, http.MethodPost)
	if c.Request.Body != "" && c.Request.Method != http.MethodPost {
		ps.add(at+".body", "is for the method POST")
	}
	ps.path("partitions.path", c.Path)
	if !slices.Contains([]records.Shape{records.List, records.Values}, c.Shape) {
		ps.add("partitions.shape", "is %q; one of list, values is meant", c.Shape)
	}
	c.Pagination.validate(ps, "partitions.pagination")
	if c.Value == "" {
		ps.add("partitions.value", "is missing: an expression for the value, of rec, an element of the list")
	}
	if c.Every <= 0 {
		ps.add("partitions.every", "must be more than 0")
	}
}
