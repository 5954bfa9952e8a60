package child

import "syscall"

// DieWithParent makes the kernel end the child when this process is killed.
func DieWithParent(attr *syscall.SysProcAttr) *syscall.SysProcAttr {
	attr.Pdeathsig = syscall.SIGQUIT
	return attr
}
