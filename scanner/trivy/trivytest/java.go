package trivytest

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver
)

// Jar is a Java archive that the database of Java archives knows.
type Jar struct {
	Content                  []byte
	Group, Artifact, Version string
}

// JarFile is an archive that says nothing of itself: only its hash tells what it is.
func JarFile(class string) ([]byte, error) {
	var buffer bytes.Buffer
	w := zip.NewWriter(&buffer)
	f, err := w.Create(class + ".class")
	if err == nil {
		_, err = f.Write([]byte("\xca\xfe\xba\xbe" + class))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("writing the archive: %w", err)
	}
	return buffer.Bytes(), nil
}

// JavaDatabase writes a database of Java archives: trivy-java.db and metadata.json.
func JavaDatabase(directory string, jars ...Jar) error {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return fmt.Errorf("making the directory of the Java database: %w", err)
	}
	db, err := sql.Open("sqlite", filepath.Join(directory, "trivy-java.db"))
	if err != nil {
		return fmt.Errorf("making the Java database: %w", err)
	}
	err = fillJava(db, jars)
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("writing the Java database: %w", err)
	}
	return os.WriteFile(filepath.Join(directory, "metadata.json"), fmt.Appendf(nil, `{"Version":1,"UpdatedAt":%q,"NextUpdate":%[1]q,"DownloadedAt":%[1]q}`, DefaultUpdated.Format("2006-01-02T15:04:05Z")), 0o600)
}

func fillJava(db *sql.DB, jars []Jar) error {
	for _, statement := range []string{
		"CREATE TABLE artifacts(id INTEGER PRIMARY KEY, group_id TEXT, artifact_id TEXT)",
		"CREATE TABLE indices(artifact_id INTEGER, version TEXT, sha1 BLOB, archive_type TEXT, foreign key (artifact_id) references artifacts(id))",
		"CREATE UNIQUE INDEX artifacts_idx ON artifacts(artifact_id, group_id)",
		"CREATE INDEX indices_artifact_idx ON indices(artifact_id)",
		"CREATE UNIQUE INDEX indices_sha1_idx ON indices(sha1)",
	} {
		if _, err := db.Exec(statement); err != nil {
			return err
		}
	}
	for n, jar := range jars {
		if _, err := db.Exec("INSERT INTO artifacts(id, group_id, artifact_id) VALUES (?, ?, ?)", n+1, jar.Group, jar.Artifact); err != nil {
			return err
		}
		sum := sha1.Sum(jar.Content)
		if _, err := db.Exec("INSERT INTO indices(artifact_id, version, sha1, archive_type) VALUES (?, ?, ?, 'jar')", n+1, jar.Version, sum[:]); err != nil {
			return err
		}
	}
	return nil
}
