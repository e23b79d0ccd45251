package git_test

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/source/git"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// gigabyte is more than anybody's limits.
const gigabyte = 1 << 30

// TestAGigabyteIsRefusedInLittleMemory has a server whose list of branches is real, and whose objects are not.
func TestAGigabyteIsRefusedInLittleMemory(t *testing.T) {
	r := newRepository(t)
	r.bundle(1)
	r.commit()
	for name, c := range map[string]struct {
		pack func(io.Writer)
		says string
	}{
		"one object that says so": {
			pack: func(w io.Writer) {
				w.Write(packHeader(1))
				w.Write(objectHeader(3, gigabyte))
				deflateZeros(w, gigabyte)
			},
			says: "134217728 bytes unpacked",
		},
		"one object that says less": {
			pack: func(w io.Writer) { w.Write(packHeader(1)); w.Write(objectHeader(3, 100)); deflateZeros(w, gigabyte) },
			says: "exceeds declared size",
		},
		"objects that are small each": {
			pack: func(w io.Writer) {
				w.Write(packHeader(1 << 10))
				var object bytes.Buffer
				object.Write(objectHeader(3, 1<<20))
				deflateZeros(&object, 1<<20)
				for range 1 << 10 {
					w.Write(object.Bytes())
				}
			},
			says: "134217728 bytes unpacked",
		},
		"more objects than there is memory for": {pack: func(w io.Writer) { w.Write(packHeader(1 << 31)) }, says: "more than 200000 files and folders"},
		"noise on the line": {
			pack: func(w io.Writer) {
				w.Write(packHeader(1))
				w.Write(objectHeader(3, 120<<20))
				compressed, _ := zlib.NewWriterLevel(w, zlib.NoCompression)
				block := noise(1 << 20)
				for range 1 << 10 {
					if _, err := compressed.Write(block); err != nil {
						return // the client has hung up, as it should
					}
				}
			},
			says: "the commit has more than 67108864 bytes",
		},
		"a difference that makes much of little": {
			pack: func(w io.Writer) {
				w.Write(packHeader(2))
				w.Write(objectHeader(3, 4))
				deflate(w, []byte("base"))
				delta := append(binary.AppendUvarint(binary.AppendUvarint(nil, 4), gigabyte), 0x91, 0, 4)
				w.Write(objectHeader(6, len(delta)))
				w.Write([]byte{byte(len(objectHeader(3, 4)) + deflatedLength([]byte("base")))})
				deflate(w, delta)
			},
			says: "134217728 bytes unpacked",
		},
		"a sum that is another": {
			pack: func(w io.Writer) {
				var pack bytes.Buffer
				pack.Write(packHeader(1))
				pack.Write(objectHeader(3, 4))
				deflate(&pack, []byte("blob"))
				changed := withChecksum(pack.Bytes())
				changed[len(changed)-1] ^= 1
				w.Write(changed)
			},
			says: "checksum mismatch",
		},
		"a difference to nothing": {
			pack: func(w io.Writer) {
				var pack bytes.Buffer
				pack.Write(packHeader(1))
				pack.Write(objectHeader(7, 4))
				pack.Write(make([]byte, 20))
				deflate(&pack, []byte{0, 1, 1, 'x'})
				w.Write(withChecksum(pack.Bytes()))
			},
			says: "a difference to something that it has not sent",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := r.serve(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
					if request.Method != http.MethodPost {
						next.ServeHTTP(w, request)
						return
					}
					w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
					_, _ = io.WriteString(w, "0034shallow "+r.git("rev-parse", "HEAD")+"00000008NAK\n")
					band := bufio.NewWriterSize(multiplexed{w}, 60<<10)
					c.pack(band)
					_ = band.Flush()
					_, _ = io.WriteString(w, "0000")
				})
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := fetch(t, s.source(), loopback(), "")
			runtime.ReadMemStats(&after)
			refused(t, err, c.says)
			if got := after.TotalAlloc - before.TotalAlloc; got > gigabyte/2 {
				t.Errorf("got %d bytes allocated, by client and server, want %d at most", got, gigabyte/2)
			}
		})
	}
}

// withChecksum is a pack with what it ends with.
func withChecksum(pack []byte) []byte {
	sum := sha1.Sum(pack)
	return append(pack, sum[:]...)
}

// multiplexed writes packets of the band of objects.
type multiplexed struct{ w io.Writer }

func (m multiplexed) Write(p []byte) (int, error) {
	if _, err := fmt.Fprintf(m.w, "%04x\x01", len(p)+5); err != nil {
		return 0, err
	}
	return m.w.Write(p)
}

func packHeader(objects uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), objects)
}

// objectHeader is type and length (gitformat-pack).
func objectHeader(kind, length int) []byte {
	first := byte(kind<<4 | length&15)
	header := []byte{}
	for length >>= 4; length > 0; length >>= 7 {
		header = append(header, first|0x80)
		first = byte(length & 0x7f)
	}
	return append(header, first)
}

func deflate(w io.Writer, content []byte) {
	compressed := zlib.NewWriter(w)
	_, _ = compressed.Write(content)
	_ = compressed.Close()
}

func deflatedLength(content []byte) int {
	var b bytes.Buffer
	deflate(&b, content)
	return b.Len()
}

func deflateZeros(w io.Writer, length int) {
	compressed := zlib.NewWriter(w)
	block := make([]byte, 1<<20)
	for ; length > 0; length -= len(block) {
		if _, err := compressed.Write(block[:min(length, len(block))]); err != nil {
			return // the client has hung up, as it should
		}
	}
	_ = compressed.Close()
}

// proxy is an HTTP proxy that connects.
func proxy(t *testing.T) (address string, connections *atomic.Int64) {
	t.Helper()
	connections = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.Method != http.MethodConnect {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		if name, password, _ := proxyPassword(request); name != "ada" || password != "secret" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		to, err := net.Dial("tcp", request.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer to.Close()
		connections.Add(1)
		w.WriteHeader(http.StatusOK)
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		go func() { _, _ = io.Copy(to, buffered) }()
		_, _ = io.Copy(from, to)
	}))
	t.Cleanup(server.Close)
	return server.URL, connections
}

func proxyPassword(request *http.Request) (name, password string, ok bool) {
	return (&http.Request{Header: http.Header{"Authorization": request.Header["Proxy-Authorization"]}}).BasicAuth()
}

func TestAProxyIsUsed(t *testing.T) {
	r := newRepository(t)
	r.bundle(1)
	r.commit()
	host, _ := newKey(t)
	mine, identity := newKey(t)
	overSSH := r.serveSSH(host, mine.PublicKey())
	overHTTPS := r.serve(nil)
	for transport, s := range map[string]v1alpha1.GitSource{
		"https": overHTTPS.source(), "ssh": {URL: "ssh://git@" + overSSH.address + "/policies.git"},
	} {
		t.Run(transport, func(t *testing.T) {
			at, connections := proxy(t)
			options := loopback()
			if transport == "ssh" {
				options.Credentials = git.Credentials{Identity: identity, KnownHosts: overSSH.known(host.PublicKey())}
			}
			s.ProxyURL = strings.Replace(at, "http://", "http://ada:secret@", 1)
			mustFetch(t, s, options)
			if connections.Load() == 0 {
				t.Error("got no connection through the proxy, want one")
			}
			s.ProxyURL = strings.Replace(at, "http://", "http://ada:guess@", 1)
			_, err := fetch(t, s, options, "")
			refused(t, err, "Proxy Authentication Required")
			if strings.Contains(err.Error(), "guess") {
				t.Errorf("got %q, want no password in it", err)
			}
			gone, err := url.Parse(at)
			if err != nil {
				t.Fatal(err)
			}
			gone.Host = "127.0.0.1:1"
			s.ProxyURL = gone.String()
			_, err = fetch(t, s, options, "")
			refused(t, err, "127.0.0.1:1")
		})
	}
}
