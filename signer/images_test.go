package signer

import (
	"strings"
	"testing"
)

func TestImagesMatchByTheirPatterns(t *testing.T) {
	images, err := ParseImages([]string{"ghcr.io/acme/**", "docker.io/library/nginx"})
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[[2]string]bool{
		{"ghcr.io", "acme/a/b"}:         true,
		{"docker.io", "library/nginx"}:  true,
		{"ghcr.io", "acme-evil/a"}:      false,
		{"docker.io", "library/nginx2"}: false,
		{"", ""}:                        false,
	} {
		if got := images.Match(image[0], image[1]); got != want {
			t.Errorf("%q: got %t, want %t", image, got, want)
		}
	}
	if (Images{}).Match("ghcr.io", "acme/a") {
		t.Error("the zero value matches an image")
	}
}

func TestAllMistakesInPatternsOfImagesAreReported(t *testing.T) {
	_, err := ParseImages([]string{"ghcr.io/acme/**", "*/acme", "nginx:1"})
	if err == nil || !strings.Contains(err.Error(), `"*/acme"`) || !strings.Contains(err.Error(), `"nginx:1"`) || strings.Contains(err.Error(), `"ghcr.io/acme/**"`) {
		t.Errorf("got %v, want both mistakes and not the good pattern", err)
	}
}
