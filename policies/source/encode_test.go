package source_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/sourcetest"
	"github.com/portcullis-dev/portcullis/signer/gitsign"
)

// version is how a stored revision begins.
const version = "portcullis.dev/revision/v1\n"

// written is a stored revision with a header of one's own.
func written(header string, files []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte(version), uint32(len(header)))
	return append(append(b, header...), files...)
}

func TestRevisionsAreStoredAndReadAgain(t *testing.T) {
	tree := sourcetest.NewTree(t, 7)
	tarball := sourcetest.Pack(t, tree)
	manifest := []byte(`{"schemaVersion":2,"layers":[{"mediaType":"application/vnd.portcullis.bundle.v1.tar+gzip","digest":"sha256:x"}]}`)
	for name, proof := range map[string]source.Proof{
		"a directory": {},
		"a commit":    {Git: &gitsign.Proof{Commit: []byte("tree \x00\xff"), Tag: []byte("object"), Trees: map[string][]byte{"ab": {0, 1}, "cd": {2}}, Path: "prod"}},
		"an artifact": {OCI: &source.OCIProof{Registry: "ghcr.io", Repository: "acme/p", Manifest: manifest, Layer: tarball,
			Attached: source.Attached{Tags: map[string]string{"sha256-x.sig": "sha256:y"}, Referrers: []string{"sha256:z"}, Contents: [][]byte{[]byte("a"), []byte("b")}}}},
		"a tarball": {Blob: &source.BlobProof{Bundle: []byte("{}"), Tarball: tarball}},
	} {
		t.Run(name, func(t *testing.T) {
			revision := &source.Revision{Tree: tree, Origin: "somewhere", Version: "1", Proof: proof}
			encoded, err := source.Encode(revision)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := source.Encode(revision); err != nil || !bytes.Equal(again, encoded) {
				t.Errorf("got other bytes the second time: %v", err)
			}
			decoded, err := source.Decode(encoded)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(decoded.Proof, revision.Proof) || decoded.Origin != "somewhere" || decoded.Version != "1" || decoded.Tree.Digest() != tree.Digest() {
				t.Errorf("got %+v, want %+v", decoded, revision)
			}
		})
	}
}

func TestWhatWasNotStoredByUsIsRefused(t *testing.T) {
	tree := sourcetest.NewTree(t, 7)
	tarball := sourcetest.Pack(t, tree)
	digest := fmt.Sprintf(`"digest":%q`, tree.Digest())
	for name, c := range map[string]struct {
		encoded []byte
		want    string
	}{
		"nothing":                            {nil, "it is none, or one of another version"},
		"another version":                    {[]byte("portcullis.dev/revision/v2\n"), "it is none, or one of another version"},
		"cut in the length":                  {[]byte(version + "\x00\x00"), "it is cut short"},
		"cut in the header":                  {[]byte(version + "\x00\x00\x00\x09{}"), "it is cut short"},
		"a length beyond all":                {[]byte(version + "\xff\xff\xff\xff{}"), "it is cut short"},
		"a header that is none":              {written("x", tarball), "what it says of itself cannot be read"},
		"a field that is not known":          {written("{"+digest+`,"unless":true,"proof":{}}`, tarball), `unknown field "unless"`},
		"a proof that is not known":          {written("{"+digest+`,"proof":{"hg":{}}}`, tarball), `unknown field "hg"`},
		"two headers":                        {written("{"+digest+`,"proof":{}}{}`, tarball), "something behind what it says of itself"},
		"no files":                           {written("{"+digest+`,"proof":{}}`, nil), "cut short"},
		"files that are cut":                 {written("{"+digest+`,"proof":{}}`, tarball[:len(tarball)-9]), "cut short"},
		"other files":                        {written("{"+digest+`,"proof":{}}`, sourcetest.Pack(t, sourcetest.NewTree(t, 8))), "its files have the digest"},
		"no digest":                          {written(`{"proof":{}}`, tarball), "its files have the digest"},
		"more than parts of a cluster holds": {append(written("{"+digest+`,"proof":{}}`, tarball), make([]byte, source.MaxEncoded)...), "and the limit is 22937600"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := source.Decode(c.encoded)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "reading a stored revision: ") {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestWhatIsTooLargeIsNotStored(t *testing.T) {
	files := map[string][]byte{"bundle.yaml": []byte("name: a\n")}
	for i := range 6 {
		noise := make([]byte, archive.MaxFile)
		for j, state := 0, uint32(i+1); j < len(noise); j++ {
			state = state*1664525 + 1013904223
			noise[j] = byte(state >> 24)
		}
		files[fmt.Sprint(i)] = noise
	}
	tree, err := archive.New(files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Encode(&source.Revision{Tree: tree, Origin: "here"}); err == nil || !strings.Contains(err.Error(), "storing here: it has") {
		t.Errorf("got %v, want an error about the size", err)
	}
	if _, err := source.Encode(&source.Revision{}); err == nil {
		t.Error("got no error for a revision without files")
	}
}

func FuzzDecode(f *testing.F) {
	tree := sourcetest.NewTree(f, 7)
	tarball := sourcetest.Pack(f, tree)
	for _, proof := range []source.Proof{{}, {Git: &gitsign.Proof{Commit: []byte("tree")}}, {Blob: &source.BlobProof{Bundle: []byte("{}"), Tarball: tarball}},
		{OCI: &source.OCIProof{Registry: "ghcr.io", Repository: "a/b", Manifest: []byte(`{"schemaVersion":2}`), Layer: tarball}}} {
		encoded, err := source.Encode(&source.Revision{Tree: tree, Origin: "here", Proof: proof})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Add([]byte(version + "\xff\xff\xff\xff{}"))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		revision, err := source.Decode(encoded)
		if err != nil {
			return
		}
		again, err := source.Encode(revision)
		if err != nil {
			return // what came compressed can be larger the way we compress
		}
		other, err := source.Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if other.Tree.Digest() != revision.Tree.Digest() || !reflect.DeepEqual(other.Proof, revision.Proof) {
			t.Errorf("got %+v stored again, want %+v", other, revision)
		}
	})
}

func FuzzReadManifest(f *testing.F) {
	artifact := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[`
	f.Add([]byte(artifact + `{"mediaType":"application/vnd.portcullis.bundle.v1.tar+gzip","digest":"sha256:ab","size":3}]}`))
	f.Add([]byte(artifact + `{"mediaType":"application/vnd.cncf.openpolicyagent.policy.layer.v1+rego","annotations":{"org.opencontainers.image.title":"a/b.rego"}}]}`))
	f.Add([]byte(`{"schemaVersion":2,"manifests":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		contents, err := source.ReadManifest(raw)
		if err == nil && (contents.Archive == nil) == (len(contents.Files) == 0) {
			t.Errorf("got %+v, want either an archive or files", contents)
		}
		for name := range contents.Files {
			if archive.Hidden(name) || archive.CheckName(name) != nil {
				t.Errorf("got the name %q", name)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	files := map[string][]byte{}
	for i := range 1000 {
		files[fmt.Sprintf("g%d/p%d/policy.rego", i%30, i)] = bytes.Repeat([]byte("deny if input.x\n"), 100)
	}
	tree, err := archive.New(files)
	if err != nil {
		b.Fatal(err)
	}
	encoded, err := source.Encode(&source.Revision{Tree: tree, Origin: "here"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(encoded)))
	for b.Loop() {
		if _, err := source.Decode(encoded); err != nil {
			b.Fatal(err)
		}
	}
}
