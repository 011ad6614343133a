<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

/**
 * A temporary directory of one test, removed with its contents.
 */
final class Scratch
{
    private readonly string $directory;

    public function __construct()
    {
        $this->directory = sys_get_temp_dir() . '/jackfield-php-' . bin2hex(random_bytes(6));
        mkdir($this->directory, 0700);
    }

    public function path(string $name): string
    {
        return $this->directory . '/' . $name;
    }

    public function remove(): void
    {
        if (!is_dir($this->directory)) {
            return;
        }

        $entries = new \RecursiveIteratorIterator(
            new \RecursiveDirectoryIterator($this->directory, \FilesystemIterator::SKIP_DOTS),
            \RecursiveIteratorIterator::CHILD_FIRST
        );
        foreach ($entries as $entry) {
            $entry->isDir() && !$entry->isLink() ? rmdir($entry->getPathname()) : unlink($entry->getPathname());
        }
        rmdir($this->directory);
    }

    public function __destruct()
    {
        $this->remove();
    }
}
