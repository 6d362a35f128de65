// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// What the broker keeps of devices that were removed while no mapper ran has to be looked for: once after the start the
// sink listens to what is retained under its prefix. What is not watched a moment later, and nobody has written since, is
// forgotten. A device that comes only then loses nothing: its next verdict is kept again.

// settled is how long after the first connection the devices that there are have come.
const settled = 2 * time.Second

// inventory is what the broker kept before this process.
type inventory struct {
	due time.Time

	mu     sync.Mutex
	topics map[string]struct{}
}

// inventory begins to listen.
func (s *Sink) inventory(ctx context.Context, session *session) *inventory {
	in := &inventory{due: time.Now().Add(settled), topics: make(map[string]struct{})}
	token := session.Client.Subscribe(s.config.Prefix+"/#", session.qos, func(_ paho.Client, m paho.Message) {
		rest, ours := strings.CutPrefix(m.Topic(), s.config.Prefix+"/")
		if levels := strings.Count(rest, "/"); !ours || levels < 1 || levels > 2 {
			return
		}
		in.mu.Lock()
		defer in.mu.Unlock()
		if !m.Retained() { // by this mapper, or by somebody who lives
			delete(in.topics, m.Topic())
		} else if len(in.topics) < s.config.Properties && len(m.Payload()) > 0 {
			in.topics[m.Topic()] = struct{}{}
		}
	})
	err := session.Wait(ctx, token)
	if granted, ok := token.(*paho.SubscribeToken); ok && err == nil {
		for topic, code := range granted.Result() {
			if code > 2 {
				err = fmt.Errorf("the broker refuses to tell what it keeps under %s", topic)
			}
		}
	}
	if err != nil {
		logs.Warningf("mqtt: verdicts on devices that are gone since the last start stay at the broker; let the user read them: %v", err)
		return nil
	}
	time.AfterFunc(settled, s.Wake)
	return in
}

// forgetGone has the broker forget what nobody watches. It reports whether that is done.
func (s *Sink) forgetGone(ctx context.Context) (done bool, err error) {
	in := s.found
	if in == nil || time.Now().Before(in.due) {
		return in == nil, nil
	}
	watched := make(map[string]struct{})
	for _, m := range s.kept {
		watched[m.topic] = struct{}{}
	}
	if s.stats != nil {
		for key := range s.stats().Bindings {
			if topic, err := Topic(s.config.Prefix, key); err == nil {
				watched[topic] = struct{}{}
			}
		}
	}
	_ = s.session.Wait(ctx, s.session.Client.Unsubscribe(s.config.Prefix+"/#")) // what comes in spite of it is passed over
	in.mu.Lock()
	var batch []message
	for topic := range in.topics {
		if _, ok := watched[topic]; !ok {
			batch = append(batch, message{topic: topic})
		}
	}
	in.mu.Unlock()
	for len(batch) > 0 {
		n := min(len(batch), inFlight)
		if err := s.session.publish(ctx, batch[:n]); err != nil {
			return false, err
		}
		batch = batch[n:]
	}
	return true, nil
}
