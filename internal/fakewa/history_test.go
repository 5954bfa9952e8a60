package fakewa

import (
	"strconv"
	"testing"
)

func TestHistoryForgets(t *testing.T) {
	t.Parallel()
	var h history[int]
	for i := range 3 * maxHistory {
		h.add(i)
	}
	if n := len(h.items); n > 2*maxHistory || n < maxHistory {
		t.Errorf("%d entries are kept", n)
	}
	for _, after := range []int{0, maxHistory, 3*maxHistory - 1} {
		got := h.after(after)
		want := max(after, h.forgotten)
		if got[0] != want || got[len(got)-1] != 3*maxHistory-1 {
			t.Errorf("after(%d) begins with %d, want %d", after, got[0], want)
		}
	}
	if got := h.after(4 * maxHistory); len(got) != 0 {
		t.Errorf("after the end there are %d", len(got))
	}
}

func TestMemoForgets(t *testing.T) {
	t.Parallel()
	var m memo[int]
	for i := range maxHistory + 1 {
		m.put(strconv.Itoa(i), i)
		m.put(strconv.Itoa(i), i)
	}
	if _, ok := m.get("0"); ok {
		t.Error("the oldest is still there")
	}
	if v, ok := m.get("1"); !ok || v != 1 {
		t.Errorf("get(1) = %d, %v", v, ok)
	}
}
