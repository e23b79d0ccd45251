package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// keySize is that of the hash's output: more does not help (RFC 2104, section 3).
const keySize = 32

// openKey reads the key, or makes one. A file that is too short to be a key is an error: with a key that can be guessed the
// hashes of weak passwords could be, too.
func openKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the journal's key: %w: make it readable to this program only", err)
	}
	if len(key) < keySize {
		return nil, fmt.Errorf("reading the journal's key: %s has %d bytes and a key has %d: remove the file, and a new key is made", path, len(key), keySize)
	}
	return key, nil
}

// makeKey writes a new key. It is whole when it appears under its name.
func makeKey(path string) ([]byte, error) {
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("making the journal's key: %w", err)
	}
	if err := writeWhole(path, key, true); err != nil {
		return nil, fmt.Errorf("writing the journal's key: %w: name a folder that can be written to", err)
	}
	return key, nil
}

// writeWhole writes a file that only its owner may read, under a name of its own first, so that it is never seen in part.
func writeWhole(path string, content []byte, sync bool) (err error) {
	f, err := os.OpenFile(path+temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if sync {
		err = errors.Join(err, f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}

// temporary ends the names of files that are being written.
const temporary = ".tmp"
