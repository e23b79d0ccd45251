package decisions

import (
	"bufio"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// short stands for the server's timeouts, which are 15 s and more. A heartbeat is a fraction of it, as it is of those.
const short = 2 * time.Second

// stream is somebody who follows over a server whose timeouts are short.
func (s *scene) stream(proto string) (lines *bufio.Scanner) {
	s.t.Helper()
	handler := s.server.Config.Handler.(*Handler)
	handler.heartbeat = short / 6
	server := httptest.NewUnstartedServer(handler)
	server.Config.ReadTimeout, server.Config.WriteTimeout = short, short
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.EnableHTTP2 = proto == "HTTP/2.0"
	server.StartTLS()
	s.t.Cleanup(server.Close)
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, server.URL+Path+"?follow=true", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer t-ann")
	response, err := server.Client().Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { response.Body.Close() })
	if response.Proto != proto || response.StatusCode != http.StatusOK {
		s.t.Fatalf("got %s %s, want %s", response.Proto, response.Status, proto)
	}
	lines = bufio.NewScanner(response.Body)
	if !lines.Scan() || !strings.Contains(lines.Text(), "in-shop") {
		s.t.Fatalf("the first line is %q: %v", lines.Text(), lines.Err())
	}
	return lines
}

// beats waits for empty lines.
func beats(t *testing.T, lines *bufio.Scanner, count int) {
	t.Helper()
	for n := range count {
		if !lines.Scan() {
			t.Fatalf("the stream ended after %d heartbeats: %v", n, lines.Err())
		}
		if lines.Text() != "" {
			t.Fatalf("got %q, want an empty line", lines.Text())
		}
	}
}

// The server limits how long a request may take to be read and answered. A stream in which nothing happens outlasts both by far.
func TestAStreamOutlivesTheServersTimeouts(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			began := time.Now()
			lines := s.stream(proto)
			beats(t, lines, 4*6)
			if passed := time.Since(began); passed < 3*short {
				t.Fatalf("only %s have passed: the test shows nothing", passed)
			}
			s.ring.Add(Entry{ID: "late", Namespace: "shop"})
			for lines.Scan() {
				if strings.Contains(lines.Text(), `"late"`) {
					return
				}
			}
			t.Errorf("what came late is not shown: %v", lines.Err())
		})
	}
}

func TestAStreamEnds(t *testing.T) {
	for name, change := range map[string]func(*scene){
		"at its longest":               func(s *scene) { s.pass(longest) },
		"when the token is nobody's":   func(s *scene) { s.desk.revoked.Store(true); s.pass(knownFor + time.Second) },
		"when nobody says whose it is": func(s *scene) { s.desk.failing.Store(true); s.pass(knownFor + time.Second) },
		"when its reader may see no more": func(s *scene) {
			s.desk.failing.Store(true) // of rights, too: the next decision is not shown
			s.pass(knownFor + time.Second)
			s.ring.Add(Entry{ID: "hidden", Namespace: "shop"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			lines := s.stream("HTTP/2.0")
			beats(t, lines, 1)
			change(s)
			for lines.Scan() { // to its end: the test's deadline is against one that has none
				if strings.Contains(lines.Text(), "hidden") {
					t.Errorf("shown: %s", lines.Text())
				}
			}
			if err := lines.Err(); err != nil {
				t.Errorf("it was cut off: %v", err)
			}
		})
	}
}
