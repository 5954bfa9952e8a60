//go:build !linux

package load

import "errors"

func run(Job) (Result, error) {
	return Result{}, errors.New("the load generator runs on Linux only")
}
