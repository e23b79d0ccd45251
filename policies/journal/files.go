package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	filePrefix  = "decisions-"
	fileSuffix  = ".jsonl"
	namedSuffix = ".facts"
)

// fileName is that of the file of lines with a number; names sort as numbers do.
func fileName(number uint64) string { return fmt.Sprintf("%s%012d%s", filePrefix, number, fileSuffix) }

func namedName(number uint64) string {
	return strings.TrimSuffix(fileName(number), fileSuffix) + namedSuffix
}

// listFiles are the numbers of a folder's files of lines, sorted.
func listFiles(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing the journal: %w", err)
	}
	var numbers []uint64
	for _, entry := range entries {
		text, ok := strings.CutPrefix(entry.Name(), filePrefix)
		text, isFile := strings.CutSuffix(text, fileSuffix)
		number, err := strconv.ParseUint(text, 10, 64)
		if ok && isFile && err == nil && fileName(number) == entry.Name() {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// files are the lines of a journal on disk, as their one writer sees them.
type files struct {
	options Options
	facts   *factWriter

	numbers []uint64         // of all files, oldest first; the last one is being written
	sizes   map[uint64]int64 // of all of them
	file    *os.File
	// factsBefore is what all facts took when the file began.
	factsBefore int64
	// sequence and last are the number and the hash of the last line.
	sequence uint64
	last     string
	// torn says that the file may hold more than its size says: a write failed in its middle, and taking it back did, too.
	torn bool
	// retired gets files that are written to no more, to be synchronised and closed.
	retired func(*os.File)
}

// openFiles finds the end of a journal, cuts off what is no line, and goes on from there.
func openFiles(options Options, retired func(*os.File)) (*files, error) {
	facts, err := newFactWriter(options.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening the journal's facts: %w", err)
	}
	f := &files{options: options, facts: facts, sizes: map[uint64]int64{}, retired: retired}
	if f.numbers, err = listFiles(options.Dir); err != nil {
		return nil, err
	}
	cut, err := f.recover()
	if err != nil {
		return nil, err
	}
	for _, number := range f.numbers {
		if err := f.takeStock(number); err != nil {
			return nil, err
		}
	}
	if err := f.facts.sweep(); err != nil {
		return nil, fmt.Errorf("taking stock of the journal's facts: %w", err)
	}
	if len(f.numbers) == 0 {
		return f, f.begin(1)
	}
	return f, f.resume(cut)
}

// recover finds the last line, and cuts off what follows it. The last file may have none.
func (f *files) recover() (cut int64, err error) {
	for n := len(f.numbers) - 1; n >= 0; n-- {
		path := filepath.Join(f.options.Dir, fileName(f.numbers[n]))
		content, err := os.ReadFile(path)
		if err != nil {
			return cut, fmt.Errorf("reading the end of the journal: %w", err)
		}
		whole, line := lastLine(content)
		if excess := int64(len(content) - whole); excess > 0 {
			cut += excess
			if err := os.Truncate(path, int64(whole)); err != nil {
				return cut, fmt.Errorf("cutting off the end of %s, which is no line: %w", path, err)
			}
		}
		if line != nil {
			f.sequence, f.last = line.Sequence, line.hash
			return cut, nil
		}
	}
	return cut, nil
}

// ending is what the chain goes on from.
type ending struct {
	Sequence uint64 `json:"seq"`
	Kind     string `json:"kind"`
	hash     string
}

// lastLine is the last line of a file and where it ends; nil and 0 where there is none.
func lastLine(content []byte) (whole int, last *ending) {
	for {
		end := bytes.LastIndexByte(content, '\n')
		if end < 0 {
			return 0, nil
		}
		line := content[bytes.LastIndexByte(content[:end], '\n')+1 : end]
		var found ending
		if json.Unmarshal(line, &found) == nil && found.Sequence > 0 && found.Kind != "" {
			found.hash = digestOf(line)
			return end + 1, &found
		}
		content = content[:len(content)-1]
		content = content[:bytes.LastIndexByte(content, '\n')+1]
	}
}

// takeStock learns a file's size and which facts it names.
func (f *files) takeStock(number uint64) error {
	info, err := os.Stat(filepath.Join(f.options.Dir, fileName(number)))
	if err != nil {
		return fmt.Errorf("taking stock of the journal: %w", err)
	}
	f.sizes[number] = info.Size()
	named, err := os.ReadFile(filepath.Join(f.options.Dir, namedName(number)))
	if err == nil && number != f.numbers[len(f.numbers)-1] {
		for digest := range strings.Lines(string(named)) {
			if s, err := parseDigest(strings.TrimSpace(digest)); err == nil {
				f.facts.last[s] = number
			}
		}
		return nil
	}
	return f.searchNamed(number)
}

// searchNamed reads a file whose list of facts was not written yet.
func (f *files) searchNamed(number uint64) error {
	file, err := os.Open(filepath.Join(f.options.Dir, fileName(number)))
	if err != nil {
		return fmt.Errorf("taking stock of the journal: %w", err)
	}
	defer file.Close()
	reader := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := readLine(reader)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("taking stock of the journal: %w", err)
		}
		var decoded Line
		if json.Unmarshal(line, &decoded, encoding) != nil {
			continue // Verify reports it
		}
		for _, digest := range f.facts.reader.named(&decoded) {
			if s, err := parseDigest(digest); err == nil {
				f.facts.last[s] = number
			}
		}
	}
}

// begin starts a file.
func (f *files) begin(number uint64) error {
	file, err := os.OpenFile(filepath.Join(f.options.Dir, fileName(number)), os.O_WRONLY|os.O_CREATE|os.O_APPEND|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("beginning a file of the journal: %w", err)
	}
	f.file, f.numbers, f.sizes[number], f.factsBefore = file, append(f.numbers, number), 0, f.facts.bytes
	return f.header(nil)
}

// resume goes on with the last file.
func (f *files) resume(cut int64) error {
	number := f.current()
	file, err := os.OpenFile(filepath.Join(f.options.Dir, fileName(number)), os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("going on with the journal: %w", err)
	}
	f.file, f.factsBefore = file, f.facts.bytes
	if cut == 0 {
		return f.header(nil)
	}
	return f.header(&Recovered{Bytes: cut})
}

func (f *files) current() uint64 { return f.numbers[len(f.numbers)-1] }

// header writes who writes from here on.
func (f *files) header(recovered *Recovered) error {
	rest, err := encodeLine(&Line{Version: Version, Kind: KindHeader, Time: f.options.Now().UTC(), Header: &Header{
		File: f.current(), Writer: f.options.Writer, Allows: f.options.Allows, Unmatched: f.options.Unmatched, Recovered: recovered,
	}})
	if err != nil {
		return err
	}
	_, err = f.append([][]byte{rest})
	return err
}

// append writes lines in one write, each with its place in the chain. If it fails nothing is written.
func (f *files) append(rests [][]byte) (lines [][]byte, err error) {
	if err := f.mend(); err != nil {
		return nil, err
	}
	size := 0
	for _, rest := range rests {
		size += len(rest) + placeSize
	}
	buffer := make([]byte, 0, size)
	sequence, last := f.sequence, f.last
	for _, rest := range rests {
		begin := len(buffer)
		sequence++
		buffer = appendPlace(buffer, sequence, last)
		buffer = append(buffer, rest...)
		line := buffer[begin:len(buffer):len(buffer)]
		last = digestOf(line)
		lines = append(lines, line)
		buffer = append(buffer, '\n')
	}
	number := f.current()
	if _, err := f.file.Write(buffer); err != nil {
		f.torn = true
		return nil, errors.Join(fmt.Errorf("writing to the journal: %w", err), f.mend())
	}
	f.sizes[number] += int64(len(buffer))
	f.sequence, f.last = sequence, last
	return lines, nil
}

// placeSize is what a line's place in the chain takes, and its line feed.
const placeSize = len(`{"seq":18446744073709551615,"prev":"sha256:",`) + 64 + 1

func appendPlace(buffer []byte, sequence uint64, prev string) []byte {
	buffer = append(buffer, `{"seq":`...)
	buffer = strconv.AppendUint(buffer, sequence, 10)
	buffer = append(buffer, `,"prev":"`...)
	buffer = append(buffer, prev...)
	return append(buffer, `",`...)
}

// mend takes back what a failed write has left.
func (f *files) mend() error {
	if !f.torn {
		return nil
	}
	if err := f.file.Truncate(f.sizes[f.current()]); err != nil {
		return fmt.Errorf("taking back a line that could not be written as a whole: %w", err)
	}
	f.torn = false
	return nil
}

// makeRoom begins a new file if lines of a size do not fit into this one any more, and removes the oldest files
// if there is too much.
func (f *files) makeRoom(size int64) error {
	if number := f.current(); f.full(size) {
		if err := f.mend(); err != nil {
			return err
		}
		if err := f.writeNamed(number); err != nil {
			return err
		}
		finished := f.file
		if err := f.begin(number + 1); err != nil {
			return err
		}
		f.retired(finished)
	}
	for len(f.numbers) > 1 && f.total()+size > f.options.MaxTotal {
		if err := f.drop(); err != nil {
			return err
		}
	}
	return nil
}

// full says whether the file ends here: because of its size, or because it has come to name so many new facts that
// removing it at once would be most of the journal.
func (f *files) full(size int64) bool {
	own := f.sizes[f.current()]
	return own > 0 && (own+size > f.options.MaxFile || own+f.facts.bytes-f.factsBefore > f.options.MaxTotal/4)
}

// writeNamed writes down which facts a finished file names.
func (f *files) writeNamed(number uint64) error {
	var named []string
	for s, last := range f.facts.last {
		if last == number {
			named = append(named, s.String()+"\n")
		}
	}
	slices.Sort(named)
	if err := writeWhole(filepath.Join(f.options.Dir, namedName(number)), []byte(strings.Join(named, "")), false); err != nil {
		return fmt.Errorf("finishing a file of the journal: %w", err)
	}
	return nil
}

// drop removes the oldest file and the facts that only it names.
func (f *files) drop() error {
	number := f.numbers[0]
	if err := f.facts.forget(number); err != nil {
		return fmt.Errorf("removing facts that are too old: %w", err)
	}
	for _, name := range []string{namedName(number), fileName(number)} {
		if err := os.Remove(filepath.Join(f.options.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a file of the journal that is too old: %w", err)
		}
	}
	delete(f.sizes, number)
	f.numbers = f.numbers[1:]
	return nil
}

// total is what the journal takes on disk.
func (f *files) total() int64 {
	total := f.facts.bytes
	for _, size := range f.sizes {
		total += size
	}
	return total
}

// maxLine bounds a line that is read: a review has two objects of at most what the webhook takes, each inline only if it is
// small, and findings within the limits of the engine.
const maxLine = 64 << 20

// readLine reads one line without its line feed. The end of a file without one is io.ErrUnexpectedEOF, with what there is.
func readLine(reader *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := reader.ReadSlice('\n')
		switch {
		case err == nil && line == nil:
			return part[:len(part)-1], nil
		case err == nil:
			line = append(line, part...)
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
			if line = append(line, part...); len(line) > maxLine {
				return nil, fmt.Errorf("a line has more than %d bytes", maxLine)
			}
		case errors.Is(err, io.EOF) && len(line)+len(part) > 0:
			return append(line, part...), io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// now is the options' clock in UTC.
func (o *Options) now() time.Time { return o.Now().UTC() }
