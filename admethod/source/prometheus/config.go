// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/labelled"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// Config of the source. Beside it stands queries, a list of [Query].
type Config struct {
	URL          string         `param:"url" doc:"address of the server, such as https://prometheus:9090, with the path that it is served under, if any"`
	Insecure     bool           `param:"insecure" doc:"allows http:// without TLS: anyone on the way can read and change readings, and read the password"`
	TLS          tlsfiles.Files `param:"tls"`
	TokenFile    string         `param:"tokenFile" doc:"file with a bearer token, read again when it changes"`
	User         string         `param:"user" doc:"name to log in with, instead of a token"`
	PasswordFile string         `param:"passwordFile" doc:"file with the password of the user, read again when it changes"`
	Tenant       string         `param:"tenant" doc:"tenant of Mimir, Cortex or Thanos, sent as X-Scope-OrgID"`
	Step         time.Duration  `param:"step" min:"100ms" max:"1h" doc:"time between two queries, and between two readings of an expression"`
	History      time.Duration  `param:"history" min:"0s" max:"720h" doc:"how far back it asks at the first start, for detectors to learn from, and at most after a gap"`
	Delay        time.Duration  `param:"delay" min:"0s" max:"1h" doc:"how long the server is given to have all samples before an expression is evaluated at a time; plain selectors are read at once"`
	Settle       time.Duration  `param:"settle" min:"0s" max:"1h" doc:"how long the server is given before a plain selector is read, where it shows the samples of a series out of their order at first, as VictoriaMetrics does: 5s there"`
	Overlap      time.Duration  `param:"overlap" min:"0s" max:"1h" doc:"how far back samples of a plain selector that came late are looked for; a multiple of the scrape interval where Thanos deduplicates replicas"`
	Lookback     time.Duration  `param:"lookback" min:"0s" max:"1h" doc:"age at which a sample counts no more where an expression is evaluated; 0s leaves it to the server (5 minutes)"`
	Partial      bool           `param:"partial" doc:"takes answers that the server calls partial, instead of trying again: an expression loses what is missing in them, a plain selector has it once a series is back"`
	Timeout      time.Duration  `param:"timeout" min:"100ms" max:"10m" doc:"time after which the server counts as away where it does not answer"`
	MaxReply     int            `param:"maxReply" min:"65536" max:"268435456" doc:"bytes of an answer, decompressed; where there are more it asks for less time at once"`
	Series       int            `param:"series" min:"1" max:"1000000" doc:"series of one query that are read; others are refused"`

	labelled.Names
}

// Query is one of the queries. What it leaves out is as in [Config].
type Query struct {
	Query  string        `param:"query" maxlen:"16384" doc:"PromQL. A plain selector, such as temperature{hall=\"3\"}, gives each sample once, at its own time; any other expression is evaluated every step"`
	Metric string        `param:"metric" doc:"name of what is watched, {metric} in templates; empty: the name of the metric in a plain selector, or what predicted says"`
	Step   time.Duration `param:"step" min:"100ms" max:"1h" doc:"time between two queries"`

	labelled.Names

	plain bool
}

// mostQueries bounds the list of queries.
const mostQueries = 256

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Step: 15 * time.Second, History: 6 * time.Hour, Delay: 15 * time.Second, Overlap: time.Minute, Timeout: 30 * time.Second,
		MaxReply: 4 << 20, Series: 10000,
		Names: labelled.DefaultNames(),
	}
}

// decode reads options over the defaults.
func decode(options map[string]any) (Config, []Query, error) {
	c := DefaultConfig()
	options = maps.Clone(options)
	list := options["queries"]
	delete(options, "queries")
	list, renamed := peers(options, list)
	err := source.Decode(&c, options)
	var queries []Query
	listed := params.Each("queries", list, func(settings map[string]any) error {
		q := Query{Step: c.Step, Names: c.Names}
		err := params.Decode(&q, settings)
		queries = append(queries, q)
		return errors.Join(err, queries[len(queries)-1].complete())
	})
	return c, queries, errors.Join(renamed, err, listed, c.validate(), distinct(queries))
}

// peerList is the list of queries in the configuration of the detectors for Prometheus that came before.
const peerList = "prometheus_metric_list"

// peers takes that list for one of queries, so that it need not be written anew.
func peers(options map[string]any, list any) (queries any, err error) {
	theirs, has := options[peerList]
	if !has {
		return list, nil
	}
	delete(options, peerList)
	items, ok := theirs.([]any)
	if !ok || list != nil {
		return list, &params.Error{Key: peerList, Value: theirs, Want: "a list, and no queries beside it"}
	}
	var errs []error
	var all []any
	for i, item := range items {
		settings, _ := item.(map[string]any)
		query := make(map[string]any)
		for key, value := range settings {
			switch key {
			case "metric_query":
				query["query"] = value
			case "predicted_metric_name":
				query["predicted"] = value
			default:
				errs = append(errs, &params.Error{Key: fmt.Sprintf("%s[%d].%s", peerList, i, key), Value: value, Want: "metric_query and predicted_metric_name; queries know more"})
			}
		}
		all = append(all, query)
	}
	return all, errors.Join(errs...)
}

func (c *Config) validate() error {
	var errs []error
	fail := func(key string, value any, want string) {
		errs = append(errs, &params.Error{Key: key, Value: value, Want: want})
	}
	if u, err := url.Parse(c.URL); c.URL == "" {
		fail("url", nil, "must be set, such as https://prometheus:9090")
	} else if err == nil && (u.RawQuery != "" || u.Fragment != "") {
		fail("url", u.Redacted(), "an address without ? and #")
	}
	if c.Insecure && c.TLS != (tlsfiles.Files{}) {
		fail("insecure", true, "no tls.* keys beside it")
	}
	if (c.User == "") != (c.PasswordFile == "") {
		fail("user", c.User, "user and passwordFile, both or none")
	}
	if c.User != "" && c.TokenFile != "" {
		fail("tokenFile", c.TokenFile, "either a token or a user")
	}
	if strings.Contains(c.User, ":") {
		fail("user", c.User, "a name without a colon")
	}
	if strings.ContainsFunc(c.Tenant, func(r rune) bool { return r <= ' ' || r > '~' }) {
		fail("tenant", c.Tenant, "printable ASCII")
	}
	return errors.Join(errs...)
}

// complete finds out what a query is.
func (q *Query) complete() error {
	name, plain := selector(q.Query)
	q.plain = plain
	if strings.TrimSpace(q.Query) == "" {
		return &params.Error{Key: "query", Want: "must be set, such as temperature{hall=\"3\"}"}
	}
	if q.Metric == "" {
		q.Metric = name
	}
	if q.Metric == "" && q.Predicted.Names() == nil {
		q.Metric = q.Predicted.String()
	}
	if q.Metric == "" {
		return &params.Error{Key: "metric", Want: fmt.Sprintf("must be set, as %.60q is not the plain name of a metric", q.Query)}
	}
	return q.Validate()
}

func distinct(queries []Query) error {
	if len(queries) == 0 {
		return &params.Error{Key: "queries", Want: "at least one query, such as queries: [{query: temperature}]"}
	}
	if len(queries) > mostQueries {
		return &params.Error{Key: "queries", Want: fmt.Sprintf("at most %d queries, not %d", mostQueries, len(queries))}
	}
	var errs []error
	seen := make(map[[2]string]int)
	for i, q := range queries {
		id := [2]string{q.Metric, q.Query}
		if first, twice := seen[id]; twice {
			errs = append(errs, &params.Error{Key: fmt.Sprintf("queries[%d].query", i), Value: q.Query, Want: fmt.Sprintf("another one than queries[%d]", first)})
		} else {
			seen[id] = i
		}
	}
	return errors.Join(errs...)
}

// selector reports whether a query is a plain vector selector, and the name of its metric, "" where that stands in a
// matcher.
func selector(query string) (name string, plain bool) {
	rest := strings.TrimSpace(query)
	n := 0
	for n < len(rest) && (letter(rest[n]) || n > 0 && rest[n] >= '0' && rest[n] <= '9') {
		n++
	}
	name, rest = rest[:n], strings.TrimSpace(rest[n:])
	if strings.EqualFold(name, "inf") || strings.EqualFold(name, "nan") {
		return "", false // numbers
	}
	if rest == "" {
		return name, name != ""
	}
	if rest[0] != '{' {
		return "", false
	}
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; c {
		case '"', '\'', '`':
			for i++; i < len(rest) && rest[i] != c; i++ {
				if rest[i] == '\\' && c != '`' {
					i++
				}
			}
		case '#':
			return "", false // a comment, in which there may be anything
		case '}':
			if i < len(rest)-1 {
				return "", false
			}
			return name, true
		}
	}
	return "", false
}

func letter(c byte) bool { return c == '_' || c == ':' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
