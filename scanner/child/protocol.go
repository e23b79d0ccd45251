package child

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/portcullis-dev/portcullis/scanner"
)

// ProtocolVersion is that of the lines between parent and child. Both are the same program or of the same release;
// a child of another version is refused.
const ProtocolVersion = 1

// Limits of one line. A request holds a few paths. A response holds a report and two SBOMs: about 300 bytes a
// vulnerability and 1.5 KB a package, so that 64 MiB are enough for 20,000 packages.
const (
	maxRequest  = 64 << 10
	maxResponse = 64 << 20
)

// Hello is the child's first line.
type Hello struct {
	Protocol int `json:"protocol"`
	// Tool is what analyses, as in reports.
	Tool scanner.Tool `json:"tool"`
}

// Kinds of requests.
const (
	// Analyse asks for the report of one image.
	Analyse = "analyse"
	// SelfTest asks whether a known-bad image is flagged, which the child makes itself with advisories for it, and
	// whether the database of the request can be used.
	SelfTest = "selftest"
)

// Request is one line to the child. The next is written only after the response to it.
type Request struct {
	ID   int64  `json:"id"`
	Kind string `json:"kind"` // [Analyse] or [SelfTest]
	// Layout is the folder of an OCI image layout (image-spec v1.1, "image-layout"), Digest that of the one
	// image manifest in it ("sha256:…", never an index). The parent has checked the digests of all blobs.
	Layout string `json:"layout,omitempty"`
	Digest string `json:"digest,omitempty"`
	// Name is how people call the image, for SBOMs: "ghcr.io/acme/app@sha256:…".
	Name string `json:"name,omitempty"`
	// Database is the folder with trivy.db and metadata.json, JavaDatabase that with trivy-java.db and its
	// metadata.json, "" for none; its last element is "java-db", as Trivy expects.
	Database     string `json:"database,omitempty"`
	JavaDatabase string `json:"javaDatabase,omitempty"`
	// DatabaseDigest is for the report.
	DatabaseDigest string `json:"databaseDigest,omitempty"`
	// Cache is a folder for analyses of layers, which several children use at once; "" for none. What lies in it
	// depends on the layers and the analyser's version alone, never on the database.
	Cache string `json:"cache,omitempty"`
	// Secrets and SBOM ask for more than vulnerabilities.
	Secrets bool `json:"secrets,omitempty"`
	SBOM    bool `json:"sbom,omitempty"`
	// Timeout in milliseconds; the parent kills the child shortly after.
	Timeout int64 `json:"timeout,omitempty"`
}

// Result is what the child found.
type Result struct {
	Report scanner.Report `json:"report"`
	// CycloneDX and SPDX are SBOMs in JSON, null where none was asked for.
	CycloneDX json.RawMessage `json:"cycloneDX,omitempty"`
	SPDX      json.RawMessage `json:"spdx,omitempty"`
}

// response is one line from the child.
type response struct {
	ID     int64   `json:"id"`
	Result *Result `json:"result,omitempty"`
	// Error says that there is no result, "" that there is one.
	Error string `json:"error,omitempty"`
}

var errLineTooLong = errors.New("the line is too long")

// writeLine writes one message. encoding/json escapes line feeds, and compacts raw messages.
func writeLine(w io.Writer, message any, limit int) error {
	line, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(line) >= limit {
		return fmt.Errorf("%w: %d bytes where %d are allowed", errLineTooLong, len(line), limit)
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// readLine reads one message of at most limit bytes. io.EOF says that the other side is gone.
func readLine(r *bufio.Reader, message any, limit int) error {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return fmt.Errorf("%w: more than %d bytes", errLineTooLong, limit)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			decoder := json.NewDecoder(bytes.NewReader(line))
			decoder.DisallowUnknownFields()
			return decoder.Decode(message)
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return io.ErrUnexpectedEOF
		default:
			return err
		}
	}
}
