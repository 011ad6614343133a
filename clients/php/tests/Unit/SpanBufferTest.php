<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Exception\InvalidRequestException;
use Jackfield\Exception\RemoteException;
use Jackfield\Options;
use Jackfield\Testing\FakeHost;
use Jackfield\Trace\Span;
use Jackfield\Trace\SpanBuffer;
use PHPUnit\Framework\TestCase;

/**
 * Tests that spans reach the host within its limits, and that no failure reaches the page.
 */
final class SpanBufferTest extends TestCase
{
    private const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

    public function testHandsFinishedSpansOverWithOneCall(): void
    {
        $host = (new FakeHost())->on('system.spans', static fn (): mixed => null);
        $client = $host->client(new Options(traceparent: self::PARENT));
        $spans = new SpanBuffer($client, 'shop');
        $page = Span::begin('GET /cart', self::PARENT, Span::SERVER);
        $query = Span::begin('select', $page->traceparent(), Span::CLIENT)->attribute('db.rows', 3)->attribute('ok', true);
        usleep(2_000);
        $spans->add($query->end('no connection'));
        $spans->add($page->end()->end('ignored'));
        $spans->add(Span::begin('not sampled', substr(self::PARENT, 0, -1) . '0')->end());
        $spans->finish(5.0);

        self::assertSame([2, 0], [$spans->delivered(), $spans->dropped()]);
        [$call] = $host->calls();
        self::assertSame('shop', $call['params']['service']);
        [$first, $second] = $call['params']['spans'];
        self::assertSame(
            [substr(self::PARENT, 3, 32), 'b7ad6b7169203331', 'GET /cart', Span::SERVER],
            [$second['traceId'], $second['parentSpanId'], $second['name'], $second['kind']]
        );
        self::assertSame($second['spanId'], $first['parentSpanId']);
        self::assertSame(['db.rows' => 3, 'ok' => true], $first['attributes']);
        self::assertSame('no connection', $first['error']);
        self::assertArrayNotHasKey('error', $second);
        self::assertGreaterThanOrEqual(2_000_000, $first['endTimeUnixNano'] - $first['startTimeUnixNano']);
        self::assertEqualsWithDelta(time() * 1e9, (float) $first['startTimeUnixNano'], 60e9);
        self::assertMatchesRegularExpression('/^[0-9]{19}$/', $first['startTimeUnixNano']);
        self::assertNull($host->contexts()[0]['traceparent'], 'the call is no part of the trace');
    }

    public function testANewTraceHasIdsOfItsOwn(): void
    {
        $span = Span::begin('job');
        self::assertMatchesRegularExpression('/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/', $span->traceparent());
        self::assertArrayNotHasKey('parentSpanId', $span->toArray());
        self::assertNotSame($span->traceId, Span::begin('job')->traceId);

        // A browser may send anything.
        foreach (['', 'x', strtoupper(self::PARENT), self::PARENT . "\n", str_replace('b7ad6b7169203331', '0000000000000000', self::PARENT)] as $none) {
            $span = Span::begin('job', $none);
            self::assertArrayNotHasKey('parentSpanId', $span->toArray(), $none);
            self::assertTrue($span->isSampled());
        }
        self::assertSame(substr(self::PARENT, 3, 32), Span::begin('job', '01' . substr(self::PARENT, 2) . '-more')->traceId);
    }

    public function testCutsWhatTheHostWouldRefuse(): void
    {
        $span = Span::begin(str_repeat('n', 255) . 'é')->attribute('', 1);
        for ($number = 0; $number < 40; $number++) {
            $span->attribute("a$number", str_repeat('é', 1000));
        }
        $span->attribute('a0', 'again')->attribute(str_repeat('x', 200), 1);

        $array = $span->end(str_repeat('e', 2000))->toArray();
        self::assertSame(str_repeat('n', 255), $array['name']);
        self::assertSame(1024, strlen($array['error']));
        $attributes = (array) $array['attributes'];
        self::assertCount(32, $attributes);
        self::assertSame(['again', str_repeat('é', 512)], [$attributes['a0'], $attributes['a31']]);
        self::assertSame('failed', Span::begin('job')->end('')->toArray()['error']);

        $this->expectException(InvalidRequestException::class);
        Span::begin('');
    }

    public function testDropsAndCountsSpansBeyondTheLimitsOfACall(): void
    {
        $sizes = [];
        $host = (new FakeHost())->on('system.spans', static function (array $params) use (&$sizes): void {
            $sizes[] = [count($params['spans']), strlen(json_encode($params))];
        });
        $spans = new SpanBuffer($host->client(), 'shop');
        for ($i = 0; $i < 600; $i++) {
            $spans->add(Span::begin("span $i")->end());
        }
        $spans->flush();
        for ($i = 0; $i < 10; $i++) {
            $span = Span::begin('large');
            for ($number = 0; $number < 32; $number++) {
                $span->attribute("a$number", str_repeat('x', 1024));
            }
            $spans->add($span->end());
        }
        $spans->add(Span::begin("\xff")->end());
        $spans->finish(5.0);

        self::assertSame([512, 7], array_column($sizes, 0));
        self::assertLessThanOrEqual(262_144, max(array_column($sizes, 1)));
        self::assertSame([519, 88 + 3 + 1], [$spans->delivered(), $spans->dropped()]);
        $spans->finish();
        self::assertCount(2, $sizes, 'an empty buffer makes no call');
    }

    public function testFailuresAreCountedAndNotThrown(): void
    {
        $span = static fn (): Span => Span::begin('s')->end();
        $off = new SpanBuffer((new FakeHost())->client(), 'shop');
        $off->add($span());
        $off->finish(5.0);
        self::assertSame([0, 1], [$off->delivered(), $off->dropped()], 'a host without system.spans');

        $silent = new SpanBuffer((new FakeHost())->silent('system.spans')->client(), 'shop');
        $silent->add($span());
        $silent->finish(0.01);
        self::assertSame([0, 1], [$silent->delivered(), $silent->dropped()]);

        $down = new SpanBuffer((new FakeHost())->down()->client(), 'shop');
        $down->add($span());
        $down->finish(0.01);
        self::assertSame(1, $down->dropped());

        $client = (new FakeHost())->client();
        $client->close();
        $closed = new SpanBuffer($client, 'shop');
        $closed->add($span());
        $closed->finish();
        self::assertSame(1, $closed->dropped());
    }

    public function testFlushDoesNotWaitForTheReply(): void
    {
        $client = (new FakeHost())->on('system.spans', static fn (): never => throw RemoteException::from(1, 'no', null))->client();
        $spans = new SpanBuffer($client, 'shop');
        $spans->add(Span::begin('s')->end());
        $spans->flush();
        self::assertSame(1, $client->pending());
        $client->run();
        self::assertSame([0, 1], [$spans->delivered(), $spans->dropped()]);
    }
}
