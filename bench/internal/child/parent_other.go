//go:build !linux

package child

import "syscall"

// DieWithParent is for Linux; elsewhere a killed benchmark leaves its children behind.
func DieWithParent(attr *syscall.SysProcAttr) *syscall.SysProcAttr { return attr }
