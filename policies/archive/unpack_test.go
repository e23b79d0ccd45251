package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies/archive"
)

// entry is one of an archive that is made for a test.
type entry struct {
	name     string
	content  string
	typeflag byte // a file if 0
	link     string
	mode     int64
	time     time.Time
	format   tar.Format
}

func pack(t testing.TB, w io.Writer, entries ...entry) {
	t.Helper()
	writer := tar.NewWriter(w)
	for _, e := range entries {
		header := &tar.Header{Typeflag: e.typeflag, Name: e.name, Linkname: e.link, Mode: e.mode, ModTime: e.time, Size: int64(len(e.content)), Format: e.format}
		if e.typeflag == tar.TypeXGlobalHeader {
			header = &tar.Header{Typeflag: e.typeflag, Name: e.name, PAXRecords: map[string]string{"comment": e.content}}
			e.content = ""
		}
		if err := writer.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(writer, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
}

func packed(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	pack(t, &b, entries...)
	return b.Bytes()
}

func compressed(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPackedTwiceATreeHasTheSameBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var want []byte
	for round := range 50 {
		files := map[string][]byte{}
		names := slices.Sorted(maps.Keys(sample()))
		random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names {
			files[name] = sample()[name]
		}
		var b bytes.Buffer
		if err := newTree(t, files).Pack(&b); err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			want = b.Bytes()
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Fatalf("round %d: got other bytes", round)
		}
	}
}

func TestAnArchiveHasTheDigestOfItsFilesHoweverItWasMade(t *testing.T) {
	want := newTree(t, sample()).Digest()
	random := rand.New(rand.NewPCG(3, 4))
	prefixes := []string{"", "./", "/"}
	for round := range 60 {
		entries := []entry{{name: "pax_global_header", typeflag: tar.TypeXGlobalHeader, content: "0123"}, {name: "/.manifest", content: "{}"}, {name: ".signatures.json", content: "{}"}}
		prefix := prefixes[round%len(prefixes)]
		if prefix == "./" {
			entries = append(entries, entry{name: "./", typeflag: tar.TypeDir, mode: 0o755})
		}
		entries = append(entries, entry{name: prefix + "pods/", typeflag: tar.TypeDir})
		for name, content := range sample() {
			format := []tar.Format{tar.FormatUnknown, tar.FormatPAX, tar.FormatGNU}[random.IntN(3)]
			entries = append(entries, entry{name: prefix + name, content: string(content), mode: random.Int64N(0o1000), time: time.Unix(random.Int64N(1e9), 0), format: format})
		}
		random.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		content := packed(t, entries...)
		if round%2 == 0 {
			content = compressed(t, content)
		}
		tree, err := archive.Unpack(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if tree.Digest() != want {
			t.Fatalf("round %d: got %s with %q, want %s", round, tree.Digest(), tree.Names(), want)
		}
	}
}

func TestArchivesThatAreNoBundleAreRefused(t *testing.T) {
	good := entry{name: "bundle.yaml", content: "name: acme\n"}
	with := func(entries ...entry) []byte { return packed(t, append([]entry{good}, entries...)...) }
	many := make([]entry, 4*archive.MaxFiles+1)
	for i := range many {
		many[i] = entry{name: fmt.Sprintf(".hidden/%d", i)}
	}
	whole := with(entry{name: "a.rego", content: strings.Repeat("a", 3000)})
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"a name that leads out":             {with(entry{name: "../x"}), `"../x" leads elsewhere`},
		"a name that leads out in between":  {with(entry{name: "a/../../b"}), `"a/../../b" leads elsewhere`},
		"a name that leads out behind ./":   {with(entry{name: "./../x"}), `"../x" leads elsewhere`},
		"a name that leads out behind /":    {with(entry{name: "/../x"}), `"../x" leads elsewhere`},
		"a name that is absolute twice":     {with(entry{name: "//etc/passwd"}), `"/etc/passwd" is absolute`},
		"a hidden name that leads out":      {with(entry{name: ".a/../../x"}), "leads elsewhere"},
		"a folder that leads out":           {with(entry{name: "../", typeflag: tar.TypeDir}), `".." leads elsewhere`},
		"a name of Windows":                 {with(entry{name: `..\x`}), "backslash"},
		"a name with a control character":   {with(entry{name: "a\x01b"}), "cannot be seen"},
		"a name that is too deep":           {with(entry{name: strings.Repeat("a/", 40) + "b"}), "folders deep"},
		"a name that is too long":           {with(entry{name: strings.Repeat("a", 2000), format: tar.FormatPAX}), "shorten it"},
		"a symbolic link":                   {with(entry{name: "x", typeflag: tar.TypeSymlink, link: "/etc/passwd"}), "x is a link or a device"},
		"a hard link":                       {with(entry{name: "x", typeflag: tar.TypeLink, link: "bundle.yaml"}), "x is a link or a device"},
		"a device":                          {with(entry{name: "x", typeflag: tar.TypeChar}), "x is a link or a device"},
		"a pipe":                            {with(entry{name: "x", typeflag: tar.TypeFifo}), "x is a link or a device"},
		"the same name twice":               {with(entry{name: "a", content: "1"}, entry{name: "a", content: "2"}), "a is there twice"},
		"the same name in two forms":        {with(entry{name: "a", content: "1"}, entry{name: "./a", content: "1"}), "a is there twice"},
		"a file and a folder of one name":   {with(entry{name: "a", content: "1"}, entry{name: "a/b", content: "2"}), "a file and a folder at once"},
		"more entries than are looked at":   {packed(t, many...), "more than 80000 entries"},
		"nothing":                           {nil, "cut short"},
		"one byte":                          {[]byte{0x1f}, "cut short"},
		"no archive":                        {bytes.Repeat([]byte("no archive "), 100), "no tar archive"},
		"no files":                          {packed(t), "there are no files"},
		"cut in a header":                   {whole[:1024+100], "cut short"},
		"cut in a file":                     {whole[:2048], "cut short"},
		"cut between two files":             {whole[:1024], "cut short"},
		"cut in the end":                    {whole[:len(whole)-512], "cut short"},
		"compressed and cut":                {compressed(t, whole)[:60], "cut short"},
		"compressed and cut at the sum":     {compressed(t, whole)[:len(compressed(t, whole))-4], "cut short"},
		"compressed, cut, compressed again": {compressed(t, whole[:1024]), "cut short"},
		"compressed with a wrong sum":       {flip(compressed(t, whole), -6), "no tar archive"},
		"something behind the end":          {append(slices.Clone(whole), whole...), "something behind the end"},
		"something behind the compression":  {append(compressed(t, whole), bytes.Repeat([]byte("PK\x03\x04"), 10)...), "no tar archive"},
		"a header with a wrong sum":         {flip(whole, 3), "no tar archive"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := archive.Unpack(bytes.NewReader(c.content))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "unpacking the bundle: ") {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func flip(content []byte, at int) []byte {
	content = slices.Clone(content)
	if at < 0 {
		at += len(content)
	}
	content[at] ^= 0x40
	return content
}

// zeros are so many zero bytes.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// bomb is a gzip stream of a tar archive that is made while it is read.
func bomb(write func(*tar.Writer, io.Writer) error) io.Reader {
	r, w := io.Pipe()
	go func() {
		compressed, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		err := write(tar.NewWriter(compressed), compressed)
		w.CloseWithError(errors.Join(err, compressed.Close()))
	}()
	return r
}

const gigabyte = 1 << 30

func TestOneGigabyteIsRefusedInBoundedMemory(t *testing.T) {
	for name, c := range map[string]struct {
		write func(archive *tar.Writer, behind io.Writer) error
		want  string
	}{
		"a file of zeros": {func(a *tar.Writer, _ io.Writer) error {
			return errors.Join(a.WriteHeader(&tar.Header{Name: "zeros.json", Size: gigabyte}), copyTo(a, zeros(gigabyte)))
		}, "zeros.json has more than 4194304 bytes"},
		"a hidden file of zeros": {func(a *tar.Writer, _ io.Writer) error {
			return errors.Join(a.WriteHeader(&tar.Header{Name: ".zeros", Size: gigabyte}), copyTo(a, zeros(gigabyte)), a.Close())
		}, "the archive has more than 134217728 bytes"},
		"many files of zeros": {func(a *tar.Writer, _ io.Writer) error {
			for i := range gigabyte / archive.MaxFile {
				if err := errors.Join(a.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Size: archive.MaxFile}), copyTo(a, zeros(archive.MaxFile))); err != nil {
					return err
				}
			}
			return a.Close()
		}, "more than 20000 files or 67108864 bytes"},
		"zeros behind the end": {func(a *tar.Writer, behind io.Writer) error {
			return errors.Join(a.WriteHeader(&tar.Header{Name: "bundle.yaml"}), a.Close(), copyTo(behind, zeros(gigabyte)))
		}, "the archive has more than 134217728 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			stream := bomb(c.write)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := archive.Unpack(stream)
			runtime.ReadMemStats(&after)
			if closer, ok := stream.(io.Closer); ok {
				closer.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			// Growing buffers allocate a few times what they end up with.
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 6*archive.MaxBytes {
				t.Errorf("got %d MiB allocated, want at most %d", allocated>>20, 6*archive.MaxBytes>>20)
			}
		})
	}
}

func copyTo(w io.Writer, r io.Reader) error {
	_, err := io.Copy(w, r)
	return err
}

func TestAnUncompressedArchiveWithoutEndIsNotReadForEver(t *testing.T) {
	head := packed(t, entry{name: "bundle.yaml", content: "x"})
	_, err := archive.Unpack(io.MultiReader(bytes.NewReader(head), zeroReader{}))
	if err == nil || !strings.Contains(err.Error(), "more than 134217728 bytes") {
		t.Errorf("got %v, want an error about the size", err)
	}
}

func FuzzUnpack(f *testing.F) {
	good := packed(f, entry{name: "./", typeflag: tar.TypeDir}, entry{name: "/bundle.yaml", content: "name: a\n"}, entry{name: "a/b.rego", content: "package b\n", format: tar.FormatPAX})
	f.Add(good)
	f.Add(compressed(f, good))
	f.Add(packed(f, entry{name: "../x"}, entry{name: "y", typeflag: tar.TypeSymlink, link: "/etc"}))
	f.Add(good[:700])
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		tree, err := archive.Unpack(bytes.NewReader(content))
		if err != nil {
			return
		}
		for _, name := range tree.Names() {
			if archive.Hidden(name) || archive.CheckName(name) != nil {
				t.Errorf("got the name %q in a tree", name)
			}
		}
		var again bytes.Buffer
		if err := tree.Pack(&again); err != nil {
			t.Fatal(err)
		}
		other, err := archive.Unpack(&again)
		if err != nil {
			t.Fatal(err)
		}
		if other.Digest() != tree.Digest() {
			t.Errorf("got %s packed again, want %s", other.Digest(), tree.Digest())
		}
	})
}

func BenchmarkUnpack(b *testing.B) {
	files := map[string][]byte{}
	for i := range 1000 {
		files[fmt.Sprintf("g%d/p%d/policy.rego", i%30, i)] = bytes.Repeat([]byte("deny if input.x\n"), 100)
	}
	tree, err := archive.New(files)
	if err != nil {
		b.Fatal(err)
	}
	var content bytes.Buffer
	if err := tree.Pack(&content); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(1000 * 1600)
	for b.Loop() {
		if _, err := archive.Unpack(bytes.NewReader(content.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}
