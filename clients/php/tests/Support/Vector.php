<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

/**
 * A test vector: one file of protocol/vectors, whose README.md describes the format.
 */
final class Vector
{
    private const DIRECTORY = __DIR__ . '/../../../../protocol/vectors';

    /** @param array<string, string> $heads */
    private function __construct(public readonly array $heads, public readonly string $bytes)
    {
    }

    /**
     * Returns all vectors, by name.
     *
     * @return array<string, self>
     */
    public static function all(): array
    {
        $vectors = [];
        foreach (glob(self::DIRECTORY . '/*.hex') ?: [] as $file) {
            $vectors[basename($file, '.hex')] = self::parse((string) file_get_contents($file));
        }
        ksort($vectors, SORT_STRING);

        return $vectors;
    }

    /**
     * Returns length and FNV-1a hash of each vector as listed in index.txt, by name.
     *
     * @return array<string, array{int, string}>
     */
    public static function index(): array
    {
        $index = [];
        foreach (file(self::DIRECTORY . '/index.txt', FILE_IGNORE_NEW_LINES | FILE_SKIP_EMPTY_LINES) ?: [] as $line) {
            if ($line[0] !== '#') {
                [$name, $length, $hash] = preg_split('/\s+/', trim($line)) ?: [];
                $index[$name] = [(int) $length, $hash];
            }
        }
        ksort($index, SORT_STRING);

        return $index;
    }

    /**
     * Decodes a head that is JSON; returns null if the head is absent.
     */
    public function json(string $head): mixed
    {
        return isset($this->heads[$head])
            ? json_decode($this->heads[$head], true, 512, JSON_BIGINT_AS_STRING | JSON_THROW_ON_ERROR)
            : null;
    }

    /**
     * Decodes a head that is hexadecimal, or `none`.
     */
    public function bytesOf(string $head): string
    {
        return $this->heads[$head] === 'none' ? '' : (string) hex2bin(str_replace(' ', '', $this->heads[$head]));
    }

    public static function parse(string $text): self
    {
        $heads = [];
        $bytes = '';
        foreach (explode("\n", $text) as $line) {
            if ($line === '' || $line[0] === '#') {
                continue;
            }
            if (str_contains($line, ': ')) {
                [$key, $value] = explode(': ', $line, 2);
                $heads[$key] = $value;
            } else {
                $bytes .= hex2bin(str_replace(' ', '', $line));
            }
        }

        return new self($heads, $bytes);
    }
}
