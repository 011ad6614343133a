<?php

declare(strict_types=1);

namespace Jackfield\Wire;

use function is_string, json_decode, strcspn, strlen, strspn, substr;

/**
 * Finds the id in a reply that json_decode() does not read, or of which only the head is known.
 *
 * Only the members of the envelope itself are looked at. Nested values are skipped without a limit
 * on their depth, and nothing else is checked.
 *
 * @internal
 */
final class IdFinder
{
    private const WHITE_SPACE = " \t\r\n";

    private int $offset = 0;

    private function __construct(private readonly string $text)
    {
    }

    /**
     * Returns the first member `id` if it is a complete string; null otherwise.
     */
    public static function find(string $text): ?string
    {
        $finder = new self($text);
        if ($finder->next() !== '{') {
            return null;
        }

        do {
            $finder->offset++;
            $finder->next();
            $name = $finder->string();
            if ($name === null || $finder->next() !== ':') {
                return null;
            }

            $finder->offset++;
            $first = $finder->next();
            if ($name === '"id"') {
                $text = $finder->string();
                $id = $text === null ? null : json_decode($text);

                return is_string($id) ? $id : null;
            }
            $finder->skipValue($first);
        } while ($finder->next() === ',');

        return null;
    }

    /** Skips white space and returns the next byte without moving behind it; '' at the end. */
    private function next(): string
    {
        $this->offset += strspn($this->text, self::WHITE_SPACE, $this->offset);

        return $this->text[$this->offset] ?? '';
    }

    /** Moves behind a string and returns it with its quotes; null if it is incomplete. */
    private function string(): ?string
    {
        $length = strlen($this->text);
        $end = $this->offset + 1;
        while ($end < $length && ($end += strcspn($this->text, '"\\', $end)) < $length) {
            if ($this->text[$end] === '"') {
                $string = substr($this->text, $this->offset, $end + 1 - $this->offset);
                $this->offset = $end + 1;

                return $string[0] === '"' ? $string : null;
            }
            $end += 2;
        }

        return null;
    }

    /** Moves behind a value, or to the end of the text if the value is incomplete. */
    private function skipValue(string $first): void
    {
        if ($first !== '"' && $first !== '{' && $first !== '[') {
            $this->offset += strcspn($this->text, ',}', $this->offset);

            return;
        }

        $level = 0;
        do {
            $this->offset += strcspn($this->text, '"{}[]', $this->offset);
            $byte = $this->text[$this->offset] ?? '';
            if ($byte === '' || $byte === '"' && $this->string() === null) {
                $this->offset = strlen($this->text);

                return;
            }
            if ($byte !== '"') {
                $level += $byte === '{' || $byte === '[' ? 1 : -1;
                $this->offset++;
            }
        } while ($level > 0);
    }
}
