package directory

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// maxWatched is how many folders are watched; changes below others are found by looking. Systems allow a user some
// thousand watches.
const maxWatched = 500

// Watch calls changed at once, whenever files may have changed and have been left alone for some time, and once in each interval
// whatever the file system tells. It ends with the context. changed is to fetch, or to have it done: see [source.Poller.Nudge].
func (s *Source) Watch(ctx context.Context, changed func()) {
	w := &watch{path: s.path}
	if absolute, err := filepath.Abs(s.path); err == nil {
		w.path = absolute // as which events name it
	}
	// Without notifications the interval remains: there may be too many watches in the system.
	if notifier, err := fsnotify.NewWatcher(); err == nil {
		defer notifier.Close()
		w.notifier = notifier
	}
	for ctx.Err() == nil {
		// Folders are watched before they are read, so that no change falls in between.
		w.follow()
		changed()
		w.wait(ctx, s.options)
	}
}

type watch struct {
	path     string
	notifier *fsnotify.Watcher
}

func (w *watch) events() <-chan fsnotify.Event {
	if w.notifier == nil {
		return nil
	}
	return w.notifier.Events
}

// errors are those of the system: most of all, that there were more events than it could hold.
func (w *watch) errors() <-chan error {
	if w.notifier == nil {
		return nil
	}
	return w.notifier.Errors
}

// wait returns when something has happened and then nothing for some time, or when the interval is over, or the context
// ends.
func (w *watch) wait(ctx context.Context, o Options) {
	due := o.After(o.Interval)
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
			return
		case <-w.errors():
			return
		case event := <-w.events():
			if w.concerns(event) {
				due = o.After(min(o.Settle, o.Interval))
			}
		}
	}
}

// concerns says whether an event is about the folder or what is in it: the folder above may be a busy one.
func (w *watch) concerns(event fsnotify.Event) bool {
	return event.Name == w.path || strings.HasPrefix(event.Name, w.path+string(filepath.Separator))
}

// follow watches all folders that there are now, and the one above, in which the folder itself may be replaced. The watches
// of folders that are gone end by themselves.
func (w *watch) follow() {
	if w.notifier == nil {
		return
	}
	_ = w.notifier.Add(filepath.Dir(w.path))
	count := 0
	_ = filepath.WalkDir(w.path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() && name != w.path {
			return nil
		}
		if strings.HasPrefix(entry.Name(), ".") && name != w.path {
			return fs.SkipDir
		}
		if count++; count > maxWatched {
			return fs.SkipAll
		}
		_ = w.notifier.Add(name)
		return nil
	})
}
