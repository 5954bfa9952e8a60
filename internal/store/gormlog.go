package store

import (
	"context"
	"log/slog"
	"time"

	"gorm.io/gorm/logger"
)

// slowAfter is when a statement is worth a line in the log.
const slowAfter = 500 * time.Millisecond

// statementLog reports slow statements. Errors are returned to the caller, who knows what they mean.
// Values are never logged: they are names, phone numbers, digests.
type statementLog struct{ log *slog.Logger }

// LogMode keeps the level: GORM asks for silence within composed statements only.
func (l statementLog) LogMode(logger.LogLevel) logger.Interface { return l }

// Info is GORM talking about itself.
func (l statementLog) Info(context.Context, string, ...any) {}

// Warn is GORM talking about itself.
func (l statementLog) Warn(ctx context.Context, text string, _ ...any) {
	l.log.WarnContext(ctx, "database layer warns", "text", text)
}

// Error is GORM talking about itself.
func (l statementLog) Error(ctx context.Context, text string, _ ...any) {
	l.log.ErrorContext(ctx, "database layer fails", "text", text)
}

// Trace is called after every statement.
func (l statementLog) Trace(ctx context.Context, begin time.Time, statement func() (string, int64), _ error) {
	took := time.Since(begin)
	if took < slowAfter {
		return
	}
	sql, rows := statement()
	l.log.WarnContext(ctx, "slow statement", "ms", took.Milliseconds(), "rows", rows, "sql", sql)
}

// ParamsFilter keeps the values out of what Trace gets.
func (l statementLog) ParamsFilter(_ context.Context, sql string, _ ...any) (string, []any) {
	return sql, nil
}
