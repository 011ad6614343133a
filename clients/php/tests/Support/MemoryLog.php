<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

/**
 * A PSR-3 logger that keeps its records in memory.
 */
final class MemoryLog extends \Psr\Log\AbstractLogger
{
    /** @var list<array{level: mixed, message: string, context: array<string, mixed>}> */
    public array $records = [];

    /**
     * @param mixed                $level
     * @param string|\Stringable   $message
     * @param array<string, mixed> $context
     */
    public function log($level, $message, array $context = []): void
    {
        $this->records[] = ['level' => $level, 'message' => (string) $message, 'context' => $context];
    }

    /**
     * Returns the records with this message, whose placeholders are not replaced.
     *
     * @return list<array{level: mixed, message: string, context: array<string, mixed>}>
     */
    public function with(string $message): array
    {
        return array_values(array_filter($this->records, static fn (array $r): bool => $r['message'] === $message));
    }
}
