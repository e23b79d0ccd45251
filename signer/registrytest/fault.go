package registrytest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Fault stands between the network and the registry.
type Fault func(next http.Handler) http.Handler

// On is a fault for the requests whose path contains a text: "/manifests/", "/blobs/",
// "/referrers/", "/token".
func On(part string, fault Fault) Fault {
	return func(next http.Handler) http.Handler {
		faulty := fault(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, part) {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Times is a fault of the first n requests. A handler is made for each request, so the
// count is the fault's.
func Times(n int64, fault Fault) Fault {
	var count atomic.Int64
	return func(next http.Handler) http.Handler {
		faulty := fault(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if count.Add(1) <= n {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// answer is a fault that never asks the registry.
func answer(handler http.HandlerFunc) Fault {
	return func(http.Handler) http.Handler { return handler }
}

// Slow waits before it answers, or until the client gives up.
func Slow(d time.Duration) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			wait(r.Context(), d)
			if r.Context().Err() == nil {
				next.ServeHTTP(w, r)
			}
		})
	}
}

// Drip sends the body byte by byte, one each time.
func Drip(each time.Duration) Fault {
	return altered(func(w http.ResponseWriter, r *http.Request, whole *httptest.ResponseRecorder) {
		copyHeader(w, whole)
		for _, b := range whole.Body.Bytes() {
			if _, err := w.Write([]byte{b}); err != nil || r.Context().Err() != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			wait(r.Context(), each)
		}
	})
}

// Chunks answers with content in pieces, waiting before each.
func Chunks(content []byte, size int, each time.Duration) Fault {
	return answer(func(w http.ResponseWriter, r *http.Request) {
		for chunk := range slices.Chunk(content, size) {
			wait(r.Context(), each)
			if _, err := w.Write(chunk); err != nil || r.Context().Err() != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	})
}

// Status answers with a status and, if it is not empty, a Retry-After header.
func Status(status int, retryAfter string) Fault {
	return answer(func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
	})
}

// Reset breaks the connection off in place of an answer.
func Reset() Fault {
	return answer(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// Truncated breaks the connection off in the middle of the body.
func Truncated() Fault {
	return altered(func(w http.ResponseWriter, _ *http.Request, whole *httptest.ResponseRecorder) {
		w.Header().Set("Content-Length", strconv.Itoa(whole.Body.Len()))
		copyHeader(w, whole)
		_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
}

// LyingDigest sets the Docker-Content-Digest header to another digest (CVE-2023-47630).
func LyingDigest(digest string) Fault {
	return altered(func(w http.ResponseWriter, _ *http.Request, whole *httptest.ResponseRecorder) {
		whole.Header().Set("Docker-Content-Digest", digest)
		copyHeader(w, whole)
		_, _ = w.Write(whole.Body.Bytes())
	})
}

// Body answers with other content and the header of the right one.
func Body(content []byte) Fault {
	return altered(func(w http.ResponseWriter, _ *http.Request, whole *httptest.ResponseRecorder) {
		whole.Header().Del("Content-Length")
		copyHeader(w, whole)
		_, _ = w.Write(content)
	})
}

// Flipped changes one bit of the last byte of the body.
func Flipped() Fault {
	return altered(func(w http.ResponseWriter, _ *http.Request, whole *httptest.ResponseRecorder) {
		copyHeader(w, whole)
		body := bytes.Clone(whole.Body.Bytes())
		if len(body) > 0 {
			body[len(body)-1] ^= 1
		}
		_, _ = w.Write(body)
	})
}

// Endless never stops sending. A media type is that of the header.
func Endless(mediaType string) Fault {
	return answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		chunk := bytes.Repeat([]byte(" "), 32<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
}

// ManyReferrers lists so many referrers, without keeping them in memory.
func ManyReferrers(n int) Fault {
	return answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		fmt.Fprint(w, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[`)
		for i := range n {
			if i > 0 {
				fmt.Fprint(w, ",")
			}
			if _, err := fmt.Fprintf(w, `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%064x","size":1}`, i); err != nil || r.Context().Err() != nil {
				return
			}
		}
		fmt.Fprint(w, "]}")
	})
}

// Pages lists no referrers on endless pages. With a next address it always names that one.
func Pages(next string) Fault {
	return answer(func(w http.ResponseWriter, r *http.Request) {
		link := next
		if link == "" {
			n, _ := strconv.Atoi(r.URL.Query().Get("page"))
			link = r.URL.Path + "?page=" + strconv.Itoa(n+1)
		}
		w.Header().Set("Link", "<"+link+`>; rel="next"`)
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		_ = json.NewEncoder(w).Encode(map[string]any{"schemaVersion": 2, "manifests": []any{}})
	})
}

// GzipBomb answers with 64 KiB that a client which trusts the content coding unpacks to 64 MiB.
func GzipBomb(mediaType string) Fault {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	zeros := make([]byte, 1<<20)
	for range 64 {
		_, _ = writer.Write(zeros)
	}
	_ = writer.Close()
	return answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed.Bytes())
	})
}

// Content answers with something of a media type, whatever was asked for.
func Content(mediaType string, content []byte) Fault {
	return answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		_, _ = w.Write(content)
	})
}

// Redirect sends the client elsewhere: to a metadata service, or in circles.
func Redirect(location string) Fault {
	return answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
}

// Challenge asks to sign in at a token server of the attacker's choice.
func Challenge(realm string) Fault {
	return answer(func(w http.ResponseWriter, _ *http.Request) {
		unauthorized(w, fmt.Sprintf(`Bearer realm=%q,service="registry"`, realm))
	})
}

// Rename answers requests for a path that ends in from as if they were for to, from the
// second on: a tag that moves between two requests (CVE-2022-47633).
func Rename(from, to string) Fault {
	var count atomic.Int64
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, from) && count.Add(1) > 1 {
				r = r.Clone(r.Context())
				r.URL.Path = strings.TrimSuffix(r.URL.Path, from) + to
			}
			next.ServeHTTP(w, r)
		})
	}
}

// altered has the registry answer and changes that.
func altered(change func(http.ResponseWriter, *http.Request, *httptest.ResponseRecorder)) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			whole := httptest.NewRecorder()
			next.ServeHTTP(whole, r)
			change(w, r, whole)
		})
	}
}

func copyHeader(w http.ResponseWriter, whole *httptest.ResponseRecorder) {
	for name, values := range whole.Header() {
		if name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(whole.Code)
}
