<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Client;
use Jackfield\Exception\InvalidRequestException;
use Jackfield\Options;
use Jackfield\Testing\FakeHost;
use PHPUnit\Framework\TestCase;

/**
 * Tests what accompanies a request: deadline, trace context and metadata.
 */
final class RequestMembersTest extends TestCase
{
    private const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    private const OTHER = '00-11111111111111111111111111111111-2222222222222222-00';

    /** @return iterable<string, array{callable(Client, array<string, mixed>): mixed}> */
    public static function calls(): iterable
    {
        yield 'call' => [static fn (Client $c, array $options) => $c->call('system.ping', ...$options)];
        yield 'callAsync' => [static fn (Client $c, array $options) => $c->callAsync('system.ping', ...$options)->await()];
        yield 'batch' => [static fn (Client $c, array $options) => $c->batch([['system.ping']], ...$options)];
        yield 'sendAsync' => [static function (Client $c, array $options): void {
            $c->sendAsync(['method' => 'system.ping'], static fn () => null, ...$options);
            $c->run();
        }];
    }

    /** @dataProvider calls */
    public function testSendsTheOptionsOfTheClientUnlessTheCallPassesItsOwn(callable $call): void
    {
        $host = new FakeHost();
        $client = $host->client(new Options(
            traceparent: self::PARENT,
            tracestate: 'vendor="x"',
            meta: ['tenant' => 'é', '7' => ''],
        ));
        $call($client, []);
        $call($client, ['traceparent' => self::OTHER, 'meta' => ['user' => 'u']]);
        $call($client, ['traceparent' => self::OTHER, 'tracestate' => 'a=b', 'timeout' => 0.0015]);
        $call($client, ['traceparent' => '', 'meta' => []]);

        [$default, $own, $state, $none] = $host->contexts();
        self::assertSame([self::PARENT, 'vendor="x"'], [$default['traceparent'], $default['tracestate']]);
        self::assertSame(['tenant' => 'é', '7' => ''], $default['meta']);
        self::assertSame([self::OTHER, null, ['user' => 'u']], array_slice(array_values($own), 1));
        self::assertSame([self::OTHER, 'a=b'], [$state['traceparent'], $state['tracestate']]);
        self::assertSame([null, null, []], array_slice(array_values($none), 1));
    }

    /** @dataProvider calls */
    public function testSendsTheRemainingTimeRoundedUp(callable $call): void
    {
        $host = new FakeHost();
        $client = $host->client(new Options(timeout: 7.0));
        $call($client, []);
        $call($client, ['timeout' => 0.25]);

        [$default, $own] = array_column($host->contexts(), 'deadlineMs');
        self::assertContains($default, range(6_900, 7_000));
        self::assertContains($own, range(150, 250));
    }

    public function testTheRemainingTimeShrinksWithEachTryAndIsAtLeastOneMillisecond(): void
    {
        $tries = 0;
        $host = (new FakeHost())->on('m', static function () use (&$tries): int {
            usleep(30_000);

            return ++$tries < 3
                ? throw \Jackfield\Exception\RemoteException::from(-32002, 'busy', ['retry_after_ms' => 1])
                : 1;
        });
        $host->client()->call('m', timeout: 2.0);

        [$first, $second, $third] = array_column($host->contexts(), 'deadlineMs');
        self::assertGreaterThanOrEqual($second + 30, $first);
        self::assertGreaterThanOrEqual($third + 30, $second);
        $frame = \Jackfield\Wire\RequestFrame::of('', '{', -5);
        self::assertStringEndsWith(',"deadline_ms":1}', $frame);
        self::assertStringEndsWith(':2}', \Jackfield\Wire\RequestFrame::of('', '{', 1_000_001));
        self::assertStringEndsWith(':1}', \Jackfield\Wire\RequestFrame::of('', '{', 1_000_000));
    }

    public function testAFunctionReturnsTheCurrentTraceparent(): void
    {
        $host = new FakeHost();
        $current = null;
        $client = $host->client(new Options(traceparent: static function () use (&$current): mixed {
            return $current;
        }));
        foreach ([null, [], self::PARENT, ['traceparent' => self::OTHER, 'tracestate' => 'a=b']] as $current) {
            $client->call('system.ping');
        }
        $client->call('system.ping', traceparent: self::PARENT);

        $seen = array_map(static fn (array $c): array => [$c['traceparent'], $c['tracestate']], $host->contexts());
        self::assertSame(
            [[null, null], [null, null], [self::PARENT, null], [self::OTHER, 'a=b'], [self::PARENT, null]],
            $seen
        );

        $current = 7;
        $this->expectExceptionMessage('the option traceparent returned a int');
        $client->call('system.ping');
    }

    /** @return iterable<string, array{array<string, mixed>, string}> */
    public static function invalid(): iterable
    {
        foreach (['x', substr(self::PARENT, 1), self::PARENT . "\n", strtoupper(self::PARENT), 'ff' . substr(self::PARENT, 2)] as $at => $text) {
            yield "traceparent $at" => [['traceparent' => $text], 'is not a traceparent of version 00'];
        }
        yield 'zero trace' => [['traceparent' => '00-' . str_repeat('0', 32) . '-b7ad6b7169203331-01'], 'is not a traceparent'];
        yield 'zero span' => [
            ['traceparent' => '00-0af7651916cd43dd8448eb211c80319c-' . str_repeat('0', 16) . '-01'], 'is not a traceparent',
        ];
        yield 'state alone' => [['tracestate' => 'a=b'], 'a tracestate needs a traceparent'];
        yield 'long state' => [['traceparent' => self::PARENT, 'tracestate' => str_repeat('x', 513)], 'at most 512 bytes'];
        yield 'state not UTF-8' => [['traceparent' => self::PARENT, 'tracestate' => "\xff"], 'must be UTF-8'];
        yield '17 members' => [['meta' => array_fill(0, 17, 'x')], 'at most 16 members with 2048 bytes'];
        yield '2049 bytes' => [['meta' => ['abc' => str_repeat('x', 2_046)]], 'at most 16 members with 2048 bytes'];
        yield 'no name' => [['meta' => ['' => 'x']], 'is empty'];
        yield 'no string' => [['meta' => ['a' => 1]], 'meta: the name "a" is empty, or its value is not a string'];
        yield 'not UTF-8' => [['meta' => ['a' => "\xff"]], 'not valid UTF-8'];
    }

    /**
     * @dataProvider invalid
     *
     * @param array<string, mixed> $options
     */
    public function testRejectsInvalidMembersBeforeAnythingIsSent(array $options, string $message): void
    {
        $host = new FakeHost();
        $client = $host->client();
        $attempts = array_map(
            static fn (array $call): \Closure => static fn (): mixed => $call[0]($client, $options),
            iterator_to_array(self::calls())
        );
        $attempts[] = static fn (): Options => new Options(...$options);
        foreach ($attempts as $attempt) {
            try {
                $attempt();
                self::fail('nothing was thrown');
            } catch (InvalidRequestException $failure) {
                self::assertStringContainsString($message, $failure->getMessage());
            }
        }
        self::assertSame([], $host->calls());
    }

    public function testAcceptsTheLimits(): void
    {
        $host = new FakeHost();
        $meta = array_fill_keys(range(10, 25), str_repeat('x', 126));
        $host->client()->call('system.ping', traceparent: self::PARENT, tracestate: str_repeat('x', 512), meta: $meta);
        self::assertSame($meta, $host->contexts()[0]['meta']);
    }
}
