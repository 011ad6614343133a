<?php

/**
 * A PSR-3 logger that keeps its records.
 */

declare(strict_types=1);

namespace Jackfield\Tests\Support;

final class MemoryLog extends \Psr\Log\AbstractLogger
{
    /** @var list<array{level: mixed, text: string, context: array<string, mixed>}> */
    public array $records = [];

    /**
     * @param mixed $level
     * @param string|\Stringable $message
     * @param array<string, mixed> $context
     */
    public function log($level, $message, array $context = []): void
    {
        $this->records[] = ['level' => $level, 'text' => (string) $message, 'context' => $context];
    }

    /** @return list<array{level: mixed, text: string, context: array<string, mixed>}> those with this text */
    public function with(string $text): array
    {
        return array_values(array_filter($this->records, static fn (array $r): bool => $r['text'] === $text));
    }
}
