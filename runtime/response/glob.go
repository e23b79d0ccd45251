package response

import (
	"errors"
	"fmt"

	"github.com/gobwas/glob"
)

// checkGlobs says which globs are none.
func checkGlobs(patterns []string) error {
	var problems []error
	for _, pattern := range patterns {
		if _, err := glob.Compile(pattern); err != nil || pattern == "" {
			problems = append(problems, fmt.Errorf("%.80q is no glob: write names with * and ?", pattern))
		}
	}
	return errors.Join(problems...)
}

// globbed says whether one of some globs matches; otherwise is the answer of one that cannot be read, so that a mistake is on the safe
// side.
func globbed(patterns []string, name string, otherwise bool) bool {
	for _, pattern := range patterns {
		compiled, err := glob.Compile(pattern)
		if err != nil && otherwise || err == nil && compiled.Match(name) {
			return true
		}
	}
	return false
}
