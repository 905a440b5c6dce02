package signin

import (
	"net/http"
	"strings"
)

// Bearer returns the token of a request's Authorization header (RFC 6750, 2.1), and takes
// it from nowhere else. The error is an [*Error] with the reason [TokenMissing].
func Bearer(header http.Header) (string, error) {
	values := header.Values("Authorization")
	switch {
	case len(values) == 0:
		return "", refuse(TokenMissing, "there is no Authorization header")
	case len(values) > 1:
		return "", refuse(TokenMissing, "there is more than one Authorization header")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if token = strings.TrimLeft(token, " "); token == "" || !strings.EqualFold(scheme, "Bearer") {
		return "", refuse(TokenMissing, "the Authorization header holds no bearer token")
	}
	return token, nil
}
