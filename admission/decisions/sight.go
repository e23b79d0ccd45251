package decisions

import "context"

// maxNamespaces is in how many namespaces one reader's rights are asked for, who may not see all: each costs the API server a question.
const maxNamespaces = 200

// sight is what one reader may see of entries.
type sight struct {
	access *access
	who    *reader
	// only is the namespace that is asked for, "" for all that may be seen.
	only string
	// asked are the namespaces whose rights were asked for.
	asked map[string]bool
}

// see gives the entry as the reader sees it, and whether they see it at all.
func (s *sight) see(ctx context.Context, entry Entry) (Entry, bool, error) {
	if s.only != "" && entry.Namespace != s.only {
		return Entry{}, false, nil
	}
	seen, err := s.may(ctx, entry.Namespace, "")
	if err != nil || !seen {
		return Entry{}, false, err
	}
	user := entry.User
	if user != "" {
		named, err := s.may(ctx, entry.Namespace, UsersResource)
		if err != nil {
			return Entry{}, false, err
		}
		if !named {
			user = s.access.pseudonym(user)
		}
	}
	return entry.shown(user), true, nil
}

// may asks for the whole cluster first: who may see all costs two questions.
func (s *sight) may(ctx context.Context, namespace, subresource string) (bool, error) {
	all, err := s.access.may(ctx, s.who, "", subresource)
	if err != nil || all || namespace == "" {
		return all, err
	}
	if !s.asked[namespace] {
		if len(s.asked) >= maxNamespaces {
			return false, nil
		}
		s.asked[namespace] = true
	}
	return s.access.may(ctx, s.who, namespace, subresource)
}
