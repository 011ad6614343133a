<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Exception\ProtocolException;
use Jackfield\Tests\Support\CpuTime;
use Jackfield\Tests\Support\FakePeer;
use Jackfield\Wire\FrameReader;
use Jackfield\Wire\Header;
use PHPUnit\Framework\TestCase;

/**
 * Tests that frames are found in a stream in any division, within limits on memory and time.
 */
final class FrameReaderTest extends TestCase
{
    private const LIMIT = 16_777_216;
    private const IMAGE = "\x89PNG\x00\xff";

    public function testReadsUpToAThousandFramesInAnyDivision(): void
    {
        foreach ([1, 2, 10, 1_000] as $count) {
            $bytes = '';
            for ($i = 0; $i < $count; $i++) {
                $bytes .= Header::frame(Header::ASYNC_RESPONSE, str_repeat('x', $i % 300) . $i);
            }
            foreach ([1, 7, 4_096, PHP_INT_MAX] as $piece) {
                $reader = new FrameReader(self::LIMIT);
                $found = 0;
                foreach (str_split($bytes, $piece) as $part) {
                    $reader->push($part);
                    while ($reader->next()) {
                        self::assertSame(str_repeat('x', $found % 300) . $found, $reader->payload);
                        $found++;
                    }
                }
                self::assertSame($count, $found);
                self::assertTrue($reader->isEmpty());
            }
        }
    }

    /**
     * The header announces 4 GiB - 1, which the limit of the reader allows.
     */
    public function testAllocatesNoMemoryForAnAnnouncedLength(): void
    {
        $reader = new FrameReader(Header::MAX_PAYLOAD);
        $before = memory_get_usage();
        $reader->push("\x01\x01\x05\xff\xff\xff\xff" . str_repeat('x', 1_000));
        self::assertFalse($reader->next());
        self::assertLessThan(65_536, memory_get_usage() - $before);
    }

    public function testDropsFramesAboveTheLimitInAnyDivision(): void
    {
        $large = '{"id":"x",' . str_repeat('y', 3_000);
        $bytes = Header::frame(Header::SYNC, 'first') . Header::frame(Header::ASYNC_RESPONSE, $large)
            . Header::frame(Header::SYNC, 'abcde') . Header::frame(Header::SYNC, 'second');
        foreach ([1, 7, 1_000, 1_030, PHP_INT_MAX] as $piece) {
            $reader = new FrameReader(1_000);
            $found = [];
            foreach (str_split($bytes, $piece) as $part) {
                $reader->push($part);
                while ($reader->next()) {
                    $found[] = [$reader->kind, $reader->refusedBytes, $reader->payload];
                }
            }

            self::assertSame([
                [Header::SYNC, 0, 'first'],
                [Header::ASYNC_RESPONSE, strlen($large), substr($large, 0, 1_024)],
                [Header::SYNC, 0, 'abcde'],
                [Header::SYNC, 0, 'second'],
            ], $found, "pieces of $piece bytes");
            self::assertTrue($reader->isEmpty());
        }
    }

    public function testKeepsOnlyTheHeadOfAFrameAboveTheLimit(): void
    {
        $reader = new FrameReader(8 << 20);
        $before = memory_get_usage();
        $reader->push(pack('nCN', 0x0101, Header::SYNC, 32 << 20));
        $piece = str_repeat('x', 1 << 20);
        for ($i = 0; $i < 31; $i++) {
            self::assertFalse($reader->next());
            $reader->push($piece);
        }
        self::assertFalse($reader->next());
        self::assertLessThan(2 << 20, memory_get_usage() - $before);
    }

    /**
     * Copying the frame for each piece would take quadratic time.
     */
    public function testReadsALargeFrameInSmallPiecesInLinearTime(): void
    {
        $time = static function (int $bytes, int $frames): int {
            $pieces = str_split(Header::frame(Header::SYNC, str_repeat('x', $bytes)), 1_024);
            $least = PHP_INT_MAX;
            for ($round = 0; $round < 4; $round++) {
                $started = CpuTime::micros();
                for ($frame = 0; $frame < $frames; $frame++) {
                    $reader = new FrameReader(self::LIMIT);
                    foreach ($pieces as $piece) {
                        $reader->push($piece);
                        $reader->next();
                    }
                }
                $least = min($least, CpuTime::micros() - $started);
            }

            return $least;
        };

        // One frame takes about as long as eight frames with the same number of bytes in total. It
        // would take 8 times as long if each piece copied all earlier ones. Both sizes are so large
        // that PHP allocates new memory from the system for them.
        self::assertLessThan(4 * $time(2 << 20, 8), $time(16 << 20, 1));
    }

    public function testReadsExtensionBlocksInAnyDivisionAndRefusesLargeOnes(): void
    {
        $block = "\x00\x0E\x0E\x0C" . pack('N3', 1, 2, 3);
        $unknown = "\x00\x13\x0F\x01x\x0E\x0C" . pack('N3', 4, 5, 6) . "\x70\x00";
        $large = '{"id":"large","result":"' . str_repeat('x', 3_000);
        $stream = FakePeer::frame(0x0102, 0x85, "$block{\"id\":1}") . FakePeer::frame(0x0102, 0x81, "$unknown{}")
            . FakePeer::frame(0x0102, 0x85, "\x00\x03\x85\x01\x03" . pack('N', 2) . '{}' . self::IMAGE)
            . FakePeer::frame(0x0102, 0x05, '{"id":2}') . FakePeer::frame(0x0102, 0x85, $block . $large)
            . FakePeer::frame(0x0102, 0x85, "\x00\x03\x85\x01\x03" . pack('N', 13) . '{"id":"image"}' . str_repeat('y', 2_000))
            . FakePeer::frame(0x0102, 0xE0, 'grease') . FakePeer::frame(0x0102, 0x81, "$block{}");
        foreach ([1, 5, 1_000, PHP_INT_MAX] as $piece) {
            $reader = new FrameReader(1_000);
            $reader->acceptsBlocks = true;
            $found = [];
            foreach (str_split($stream, $piece) as $part) {
                $reader->push($part);
                while ($reader->next()) {
                    $found[] = [$reader->kind, $reader->isBytes, substr($reader->payload, 0, 14), $reader->refusedBytes > 0];
                }
            }
            self::assertSame([
                [5, false, '{"id":1}', false], [1, false, '{}', false],
                [5, true, "\0\0\0\x02{}" . self::IMAGE, false], [5, false, '{"id":2}', false],
                [5, false, '{"id":"large",', true], [5, true, '{"id":"image"}', true],
                [0xE0, false, 'grease', false], [1, false, '{}', false],
            ], $found, "pieces of $piece bytes");
        }
    }

    /** @return iterable<string, array{string}> */
    public static function malformedBlocks(): iterable
    {
        yield 'no length' => ["\x00"];
        yield 'longer than the payload' => ["\x00\x20\x0E\x0C"];
        yield 'a field without a length' => ["\x00\x01\x0E"];
        yield 'a field beyond the block' => ["\x00\x03\x0E\x0C\x00"];
        yield 'a timing of another length' => ["\x00\x03\x0E\x01\x00"];
        yield 'a content type twice' => ["\x00\x06\x85\x01\x03\x85\x01\x03"];
        yield 'an unknown content type' => ["\x00\x03\x85\x01\x07"];
        yield 'an unknown mandatory field' => ["\x00\x02\x90\x00"];
    }

    /** @dataProvider malformedBlocks */
    public function testRejectsMalformedBlocks(string $block): void
    {
        $reader = new FrameReader(1_000);
        $reader->acceptsBlocks = true;
        $reader->push(FakePeer::frame(0x0102, 0x85, $block));
        $this->expectException(ProtocolException::class);
        $reader->next();
    }
}
