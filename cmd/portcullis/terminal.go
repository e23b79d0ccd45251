package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/admission/gate/output"
	"golang.org/x/term"
)

// terminal is w as a terminal; ok is false for a file, a pipe or a test's buffer.
func terminal(w io.Writer) (f *os.File, ok bool) {
	f, ok = w.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// style is what w can show. Colours follow https://no-color.org.
func style(w io.Writer) output.Style {
	f, ok := terminal(w)
	if !ok {
		return output.Style{}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = 80
	}
	return output.Style{Table: true, Colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", Width: width}
}

// progressWidth is how many characters a bar has.
const progressWidth = 20

// progress shows on a terminal how far a run is, in the words of a format for two numbers;
// elsewhere it is nil.
func progress(w io.Writer, words string) func(done, total int) {
	if _, ok := terminal(w); !ok {
		return nil
	}
	plain := os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb"
	return progressBar(w, words, plain, time.Now)
}

// progressBar draws a bar over itself, from a second after the beginning on: a run that is over
// by then needs none. What is done leaves an empty line.
func progressBar(w io.Writer, words string, plain bool, now func() time.Time) func(done, total int) {
	const clear = "\r\x1b[K" // to the beginning of the line, and erase to its end (ECMA-48)
	filled, empty := "█", "░"
	if plain {
		filled, empty = "#", "."
	}
	var shown time.Time
	started := now()
	return func(done, total int) {
		switch {
		case done == total && !shown.IsZero():
			fmt.Fprint(w, clear)
		case done < total && now().Sub(started) > time.Second && now().Sub(shown) > 100*time.Millisecond:
			shown = now()
			part := progressWidth * done / total
			fmt.Fprintf(w, clear+"%s%s "+words, strings.Repeat(filled, part), strings.Repeat(empty, progressWidth-part), done, total)
		}
	}
}
