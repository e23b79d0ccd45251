package parse

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"github.com/BurntSushi/toml"
	"github.com/magiconair/properties"
	"github.com/subosito/gotenv"
	"gopkg.in/ini.v1"
)

func readTOML(content []byte) (any, error) {
	if err := checkNesting(content); err != nil {
		return nil, err
	}
	if dots(content) > maxNesting {
		return nil, fmt.Errorf("it has a key of more than %d parts", maxNesting)
	}
	var value map[string]any
	if err := toml.Unmarshal(content, &value); err != nil {
		return nil, err
	}
	return remarshal(value)
}

// dots are the most dots of what could be one key: the parser notes every table on the way to it by its whole name, which
// takes the square of their number.
func dots(content []byte) int {
	longest, now := 0, 0
	for _, c := range content {
		switch c {
		case '.':
			now++
			longest = max(longest, now)
		case '=', '[', ']', '{', '}', ',', '\n':
			now = 0
		}
	}
	return longest
}

// readINI gives an object of sections. What looks like a number is one, then what looks like a truth value: "1" is 1,
// "t" is true. Keys before any section are left out, and references (%(name)s) stay as they are written, as in Conftest.
func readINI(content []byte) (any, error) {
	file, err := ini.Load(content)
	if err != nil {
		return nil, err
	}
	sections := map[string]map[string]any{}
	for _, section := range file.Sections() {
		if section.Name() == ini.DefaultSection {
			continue
		}
		values := map[string]any{}
		for key, text := range section.KeysHash() {
			values[key] = literal(text)
		}
		sections[section.Name()] = values
	}
	return remarshal(sections)
}

// maxExpanded bounds what references make of the values of a file, all of them together, in bytes: twice a value that is twice
// another one is soon more than there is memory.
const maxExpanded = 4 << 20

var errExpanded = fmt.Errorf("its references make more than %d bytes of it: write the values out", maxExpanded)

func literal(text string) any {
	if number, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(number) && !math.IsInf(number, 0) {
		return number
	}
	if truth, err := strconv.ParseBool(text); err == nil {
		return truth
	}
	return text
}

// variable is a reference in a dotenv file that gotenv would look up in the environment of this program.
var variable = regexp.MustCompile(`(?:^|[^\\])\$\{?[A-Z0-9_]+`)

// comments are lines that hold nothing else.
var comments = regexp.MustCompile(`(?m)^[ \t]*#.*$`)

func readDotenv(content []byte) (any, error) {
	if reference := variable.Find(comments.ReplaceAll(content, nil)); reference != nil {
		return nil, fmt.Errorf("it refers to %q, which depends on where it is read: write the value out", bytes.TrimSpace(reference))
	}
	values, err := gotenv.StrictParse(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	return remarshal(values)
}

// expression is a reference in a properties file.
var expression = regexp.MustCompile(`\$\{([^}]*)\}`)

// readProperties reads a Java properties file. References are to other keys of it, never to the environment.
func readProperties(content []byte) (any, error) {
	loader := properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}
	plain, err := loader.LoadBytes(content)
	if err != nil {
		return nil, err
	}
	known := plain.Map()
	for key, value := range known {
		for _, reference := range expression.FindAllStringSubmatch(value, -1) {
			if _, ok := known[reference[1]]; !ok {
				return nil, fmt.Errorf("%s refers to %s, which is not in the file and depends on where it is read: write the value out", key, reference[0])
			}
		}
	}
	sizes := expansion{values: known, sizes: map[string]int{}}
	total := 0
	for key := range known {
		if total += sizes.of(key, 0); total > maxExpanded {
			return nil, errExpanded
		}
	}
	loader.DisableExpansion = false
	expanded, err := loader.LoadBytes(content)
	if err != nil {
		return nil, err
	}
	return remarshal(expanded.Map())
}

// expansion measures what references between properties make of them.
type expansion struct {
	values map[string]string
	sizes  map[string]int
}

// of is the size of a value, of no more than maxExpanded+1. One that refers to itself is left to the parser, which names
// all that do.
func (e *expansion) of(key string, depth int) int {
	if size, known := e.sizes[key]; known || depth > maxNesting {
		return size
	}
	e.sizes[key] = 0 // while it is under way
	value := e.values[key]
	size := len(value)
	for _, reference := range expression.FindAllStringSubmatch(value, -1) {
		size = min(size+e.of(reference[1], depth+1), maxExpanded+1)
	}
	e.sizes[key] = size
	return size
}
