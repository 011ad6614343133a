<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Call\RequestMembers;
use Jackfield\Exception\ProtocolException;
use Jackfield\Exception\RemoteException;
use Jackfield\Options;
use Jackfield\Tests\Support\Vector;
use Jackfield\Timing;
use Jackfield\Wire\Code;
use Jackfield\Wire\Envelope;
use Jackfield\Wire\FrameReader;
use Jackfield\Wire\Header;
use Jackfield\Wire\RequestFrame;
use PHPUnit\Framework\TestCase;

/**
 * Tests frames and envelopes with the test vectors of all implementations (protocol/vectors).
 */
final class WireTest extends TestCase
{
    private const LIMIT = 16_777_216;
    private const KINDS = [
        'sync' => Header::SYNC,
        'heartbeat' => Header::HEARTBEAT,
        'error' => Header::ERROR,
        'async-request' => Header::ASYNC_REQUEST,
        'async-response' => Header::ASYNC_RESPONSE,
        'cancel' => Header::CANCEL,
        'going-away' => Header::GOING_AWAY,
    ];

    /** Heads of members that this client writes behind the params, with the deadline first. */
    private const CONTEXT = ['deadline_ms' => 1, 'traceparent' => 1, 'tracestate' => 1, 'meta' => 1];

    /** json_decode() does not report this fault: it keeps the last of two members with one name. */
    private const UNDETECTED = ['reply-error-duplicate-code'];

    /** @return iterable<string, array{Vector}> */
    public static function vectors(): iterable
    {
        foreach (Vector::all() as $name => $vector) {
            yield $name => [$vector];
        }
    }

    public function testIndexListsLengthAndHashOfEveryVector(): void
    {
        $vectors = Vector::all();
        $index = Vector::index();
        self::assertNotEmpty($vectors);
        self::assertSame(array_keys($index), array_keys($vectors));

        foreach ($vectors as $name => $vector) {
            self::assertSame([strlen($vector->bytes), hash('fnv1a64', $vector->bytes)], $index[$name], $name);
        }
    }

    /** @dataProvider vectors */
    public function testReadsEveryVectorInAnyDivision(Vector $vector): void
    {
        $this->assertReads($vector, [$vector->bytes]);
        if (strlen($vector->bytes) <= 2_000) {
            $this->assertReads($vector, str_split($vector->bytes));
        }
        for ($at = 1; $at < min(strlen($vector->bytes), 600); $at++) {
            $this->assertReads($vector, [substr($vector->bytes, 0, $at), substr($vector->bytes, $at)]);
        }
    }

    /** @return iterable<string, array{Vector, string}> */
    public static function replies(): iterable
    {
        foreach (Vector::all() as $name => $vector) {
            if (isset($vector->heads['reply']) && !in_array($name, self::UNDETECTED, true)) {
                yield $name => [$vector, $vector->heads['reply']];
            }
        }
    }

    /** @dataProvider replies */
    public function testDecodesReplies(Vector $vector, string $kind): void
    {
        if ($kind === 'invalid') {
            try {
                $reply = self::reply($vector);
                $outcome = array_key_exists('error', $reply) ? Envelope::error($reply['error']) : null;
            } catch (ProtocolException $outcome) {
            }
            self::assertInstanceOf(ProtocolException::class, $outcome);

            return;
        }

        $reply = self::reply($vector, $timing);
        self::assertSame($vector->json('id'), $reply['id'] ?? null);
        self::assertSame($vector->heads['timing'] ?? null, $timing);
        if (isset($vector->heads['bytes'])) {
            self::assertSame($vector->bytesOf('bytes'), $reply['result']->bytes);

            return;
        }
        if ($kind === 'result') {
            self::assertSame($vector->json('result'), $reply['result']);

            return;
        }

        $error = Envelope::error($reply['error']);
        self::assertInstanceOf(RemoteException::class, $error);
        self::assertSame((int) $vector->heads['code'], $error->getCode());
        self::assertSame($vector->json('message'), $error->getMessage());
        self::assertSame($vector->json('data'), $error->data());
    }

    /**
     * Returns requests as this client sends them.
     *
     * They have version 1.1, an id without escapes, and params that PHP can represent. Those with a
     * deadline, a trace context or metadata are in requestsWithContext().
     *
     * @return iterable<string, array{Vector}>
     */
    public static function canonicalRequests(): iterable
    {
        foreach (Vector::all() as $name => $vector) {
            $heads = $vector->heads + ['request' => '', 'canonical' => '', 'id' => '', 'params' => ''];
            if (
                $heads['request'] === 'accepted' && $heads['canonical'] === 'yes' && $heads['version'] === '1.1'
                && preg_match('/^"[^\\\\]*"$/D', $heads['id']) === 1
                && !in_array($heads['params'], ['null', '1e400'], true)
                && array_intersect_key($heads, self::CONTEXT) === []
            ) {
                yield $name => [$vector];
            }
        }
    }

    /** @dataProvider canonicalRequests */
    public function testEncodesCanonicalRequestsByteForByte(Vector $vector): void
    {
        $params = isset($vector->heads['params']) ? json_decode($vector->heads['params']) : null;
        $payload = Envelope::request(
            $vector->json('id'),
            $vector->json('method'),
            $params,
            $vector->json('timestamp')
        );
        self::assertSame(
            bin2hex($vector->bytes),
            bin2hex(Header::frame(self::KINDS[$vector->heads['kind']], $payload . '}'))
        );
    }

    /** @return iterable<string, array{Vector}> */
    public static function requestsWithContext(): iterable
    {
        foreach (Vector::all() as $name => $vector) {
            $heads = $vector->heads + ['request' => '', 'block' => ''];
            $hasContext = array_intersect_key($heads, self::CONTEXT) !== [];
            if ($heads['request'] === 'accepted' && $heads['block'] === '' && $hasContext) {
                yield $name => [$vector];
            }
        }
    }

    /**
     * This client writes the members in another order, and ids that are strings.
     *
     * @dataProvider requestsWithContext
     */
    public function testEncodesTheContextOfRequests(Vector $vector): void
    {
        $expected = array_filter([
            'id' => 'a',
            'method' => $vector->json('method'),
            'params' => $vector->json('params'),
            'traceparent' => $vector->json('traceparent'),
            'tracestate' => $vector->json('tracestate'),
            'meta' => $vector->json('meta'),
        ]);
        $members = new RequestMembers(new Options());
        $envelope = Envelope::request('a', $vector->json('method'), $vector->json('params'))
            . $members->encode($vector->json('traceparent'), $vector->json('tracestate'), $vector->json('meta'));
        $deadline = $vector->json('deadline_ms') ?? 1;

        $frame = RequestFrame::of('', $envelope, $deadline * 1_000_000);
        $sent = json_decode(substr($frame, 4), true);
        self::assertSame($deadline, $sent['deadline_ms']);
        unset($sent['deadline_ms']);
        self::assertSame($expected, $sent);
    }

    public function testNamesTheCodesOfTheProtocol(): void
    {
        self::assertSame('DEADLINE_EXCEEDED', Code::name(-32001));
        self::assertSame('CANCELLED', Code::name(-32800));
        self::assertNull(Code::name(42));
    }

    public function testReturnsTheReasonOfAnErrorIfTheHostSentOne(): void
    {
        $data = ['plugin' => 'device', 'reason' => 'probe-crashed', 'retry_after_ms' => 1000];
        foreach ([$data, (object) $data] as $sent) {
            self::assertSame('probe-crashed', RemoteException::from(Code::PLUGIN_UNAVAILABLE, '', $sent)->reason());
        }

        foreach ([null, 'text', ['reason' => 1], ['plugin' => 'device']] as $sent) {
            self::assertNull(RemoteException::from(Code::PLUGIN_UNAVAILABLE, '', $sent)->reason());
        }
    }

    public function testKnowsTheCodesOfRequestsThatNeverStarted(): void
    {
        $safe = array_filter(range(-32_800, -32_000), Code::neverStarted(...));
        self::assertSame([Code::GOING_AWAY, Code::PLUGIN_UNAVAILABLE, Code::OVERLOADED], array_values($safe));
    }

    /**
     * Decodes the reply in a vector, on a connection whose host granted what the vector needs.
     *
     * @return array<string, mixed>
     */
    private static function reply(Vector $vector, ?string &$timing = null): array
    {
        $reader = new FrameReader(self::LIMIT);
        $reader->acceptsBlocks = isset($vector->heads['negotiated']);
        $reader->push($vector->bytes);
        self::assertTrue($reader->next());
        $found = Timing::parse($reader->timing);
        $timing = $found === null ? null : "{$found->queuedMicros} {$found->runMicros} {$found->generation}";

        return $reader->isBytes
            ? Envelope::bytesReply($reader->payload)
            : Envelope::reply($reader->payload, true);
    }

    /** @param list<string> $pieces */
    private function assertReads(Vector $vector, array $pieces): void
    {
        $reader = new FrameReader(self::LIMIT);
        $found = 'incomplete';
        try {
            foreach ($pieces as $piece) {
                $reader->push($piece);
                if ($reader->next()) {
                    $found = 'frame';
                    break;
                }
            }
        } catch (ProtocolException) {
            $found = 'refused';
        }

        if (($vector->heads['fatal'] ?? null) === 'no') {
            // The reader drops the payload and then returns the frame with its head.
            self::assertSame('incomplete', $found);
            $reader->push(str_repeat('x', (int) $vector->heads['length']));
            self::assertTrue($reader->next());
            self::assertSame((int) $vector->heads['length'], $reader->refusedBytes);
            self::assertTrue($reader->isEmpty());

            return;
        }

        self::assertSame($vector->heads['expect'], $found);
        if ($found === 'frame') {
            $kind = $vector->heads['kind'];
            self::assertSame(self::KINDS[$kind] ?? hexdec($kind), $reader->kind);
            self::assertSame((int) $vector->heads['length'], strlen($reader->payload));
            self::assertSame(substr($vector->bytes, Header::LENGTH, strlen($reader->payload)), $reader->payload);
        }
    }
}
