package database

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// kind is one of the two databases of Trivy
// (https://trivy.dev/latest/docs/configuration/db/, "OCI artifact").
type kind struct {
	name      string // of its folder, as Trivy expects it
	file      string
	mediaType string
	schema    int64
	whole     func(file *os.File, size int64) error
}

var (
	vulnerabilities = kind{name: "db", file: "trivy.db", mediaType: "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip", schema: 2, whole: wholeBolt}
	java            = kind{name: "java-db", file: "trivy-java.db", mediaType: "application/vnd.aquasec.trivy.javadb.layer.v1.tar+gzip", schema: 1, whole: wholeSQLite}
)

const metadataFile = "metadata.json"

// metadata is the file beside a database (github.com/aquasecurity/trivy-db/pkg/metadata).
type metadata struct {
	Version   int64
	UpdatedAt time.Time
}

// check says what is wrong with a database in a folder. A file that is not whole would crash whoever maps it.
func (k *kind) check(folder string, now time.Time) (metadata, error) {
	about, err := readMetadata(filepath.Join(folder, metadataFile))
	if err != nil {
		return metadata{}, err
	}
	switch {
	case about.Version != k.schema:
		return metadata{}, fmt.Errorf("its schema is %d, and this release reads %d: take the artifact with the tag %d", about.Version, k.schema, k.schema)
	case about.UpdatedAt.IsZero():
		return metadata{}, errors.New("it does not say when it was made")
	case about.UpdatedAt.After(now.Add(skew)):
		return metadata{}, fmt.Errorf("it says that it was made at %s, which is in the future: correct the clock, or take another database", about.UpdatedAt.UTC().Format(time.RFC3339))
	}
	file, err := os.Open(filepath.Join(folder, k.file))
	if err != nil {
		return metadata{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return metadata{}, err
	}
	if err := k.whole(file, info.Size()); err != nil {
		return metadata{}, fmt.Errorf("its file %s is damaged: %w", k.file, err)
	}
	return about, nil
}

// skew is by how much the clocks of who makes databases and of this machine may differ.
const skew = time.Hour

// maxMetadata is far above the 150 bytes that the file has.
const maxMetadata = 64 << 10

func readMetadata(path string) (metadata, error) {
	var about metadata
	file, err := os.Open(path)
	if err != nil {
		return about, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxMetadata))
	if err != nil {
		return about, err
	}
	if err := json.Unmarshal(content, &about); err != nil {
		return about, fmt.Errorf("reading %s: %w", metadataFile, err)
	}
	return about, nil
}

// wholeBolt reads the two meta pages of a bbolt file (go.etcd.io/bbolt/internal/common, Meta): a valid one must say
// that the file has no more pages than it has. Nothing is mapped.
func wholeBolt(file *os.File, size int64) error {
	const magic, header = 0xED0CDAED, 16
	pageSize := int64(4096)
	for page := range int64(2) {
		var meta [header + 64]byte
		if _, err := file.ReadAt(meta[:], page*pageSize); err != nil {
			return fmt.Errorf("it is no database: %w", err)
		}
		body := meta[header:]
		if binary.NativeEndian.Uint32(body) != magic {
			continue
		}
		pageSize = int64(binary.NativeEndian.Uint32(body[8:]))
		pages := binary.NativeEndian.Uint64(body[40:])
		if pageSize < 512 || pageSize > 64<<10 || pages > uint64(size/pageSize) {
			return fmt.Errorf("it has %d bytes of %d pages of %d", size, pages, pageSize)
		}
		return nil
	}
	return errors.New("it is no database of bbolt")
}

// wholeSQLite reads the header (https://www.sqlite.org/fileformat.html#the_database_header).
func wholeSQLite(file *os.File, size int64) error {
	var header [100]byte
	if _, err := file.ReadAt(header[:], 0); err != nil {
		return fmt.Errorf("it is no database: %w", err)
	}
	if string(header[:16]) != "SQLite format 3\x00" {
		return errors.New("it is no database of SQLite")
	}
	pageSize := int64(binary.BigEndian.Uint16(header[16:]))
	if pageSize == 1 {
		pageSize = 65536
	}
	if pages := int64(binary.BigEndian.Uint32(header[28:])); pages*pageSize > size {
		return fmt.Errorf("it has %d bytes of %d pages of %d", size, pages, pageSize)
	}
	return nil
}
