package store

import "gorm.io/gorm"

// Writer gives tests GORM itself.
func (s *Store) Writer() *gorm.DB { return s.writer }
