<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Exception\InvalidRequestException;
use Jackfield\Exception\ProtocolException;
use Jackfield\Options;
use Jackfield\Testing\FakeHost;
use Jackfield\Transport\PersistentConnector;
use Jackfield\Transport\UnixConnector;
use Jackfield\Uuid;
use Jackfield\Wire\Envelope;
use PHPUnit\Framework\TestCase;

/**
 * Tests the encoding of requests, the decoding of replies, ids, and the validation of arguments.
 */
final class EnvelopeTest extends TestCase
{
    private const ID = '91b9c9c8-7a13-4b4b-8a5f-9ab3f4a1c001';

    public function testEncodesRequestsWithoutTheirClosingBrace(): void
    {
        self::assertSame('{"id":"i","method":"m"', Envelope::request('i', 'm', null));
        self::assertSame('{"id":"i","method":"m","params":{}', Envelope::request('i', 'm', []));
        self::assertSame('{"id":"i","method":"m","params":{"a":[]}', Envelope::request('i', 'm', ['a' => []]));
        self::assertSame('{"id":"i","method":"m","params":{}', Envelope::request('i', 'm', new \stdClass()));
        self::assertSame('{"id":"i","method":"m","params":false', Envelope::request('i', 'm', false));
        self::assertSame(
            '{"id":"i","method":"größe/\"x\"","params":[1.5,"ü/"],"timestamp":1717324800',
            Envelope::request('i', 'größe/"x"', [1.5, 'ü/'], 1_717_324_800)
        );
    }

    /**
     * A method that takes integers refuses 3.0.
     */
    public function testSendsFloatsWithoutAFractionAsIntegersUnlessTheOptionForbidsIt(): void
    {
        $sent = [];
        $host = (new FakeHost())->on('m', static function (mixed $params) use (&$sent): void {
            $sent[] = $params;
        });
        $params = ['floor' => floor(3.7), 'round' => round(1e15), 'half' => 0.5];
        $host->client()->call('m', $params);
        $host->client()->callAsync('m', $params)->await();
        $host->client(new Options(preserveZeroFraction: true))->call('m', $params);
        $host->client(new Options(preserveZeroFraction: true))->callAsync('m', $params)->await();

        $integers = ['floor' => 3, 'round' => 1_000_000_000_000_000, 'half' => 0.5];
        $floats = ['floor' => 3.0, 'round' => 1e15, 'half' => 0.5];
        self::assertSame([$integers, $integers, $floats, $floats], $sent);
    }

    public function testSendsACastArrayAlwaysAsAnObject(): void
    {
        $maps = ['empty' => (object) [], 'list' => (object) ['a', 'b'], 'map' => (object) ['k' => 1]];
        self::assertSame(
            '{"id":"i","method":"m","params":{"empty":{},"list":{"0":"a","1":"b"},"map":{"k":1}}',
            Envelope::request('i', 'm', $maps)
        );
    }

    /** @return iterable<string, array{string, mixed}> */
    public static function unencodable(): iterable
    {
        yield 'empty method' => ['', null];
        yield 'long method' => [str_repeat('m', 257), null];
        yield 'method not UTF-8' => ["\xff", null];
        yield 'params not UTF-8' => ['m', ["\xff"]];
        yield 'NAN' => ['m', [NAN]];
        yield 'infinity' => ['m', INF];
        yield 'too deep' => ['m', json_decode(str_repeat('[', 128) . str_repeat(']', 128))];
        yield 'resource' => ['m', [STDIN]];
    }

    /** @dataProvider unencodable */
    public function testRejectsARequestThatCannotBeEncodedBeforeSendingIt(string $method, mixed $params): void
    {
        $host = new FakeHost();
        try {
            $host->client()->call($method, $params);
        } catch (InvalidRequestException $failure) {
            self::assertFalse($failure->isRetryable());
            self::assertSame([], $host->calls());

            return;
        }
        self::fail('the request was sent');
    }

    public function testAcceptsTheMaximumNestingAndMethodLength(): void
    {
        $deep = json_decode(str_repeat('[', 127) . str_repeat(']', 127));
        self::assertStringContainsString(str_repeat('[', 127), Envelope::request('i', 'm', $deep));
        self::assertNotEmpty(Envelope::request('i', str_repeat('m', 256), null));
    }

    public function testDecodesNumbersExactlyOrReportsAnError(): void
    {
        $value = static fn (string $json): mixed => Envelope::reply("{\"id\":\"i\",\"result\":$json}", true, 'i');
        self::assertSame(PHP_INT_MAX, $value('9223372036854775807')['result']);
        self::assertSame('9223372036854775808', $value('9223372036854775808')['result']);
        self::assertSame('-18446744073709551616', $value('-18446744073709551616')['result']);
        self::assertSame(1.0, $value('1.0')['result']);
        self::assertSame(1e308, $value('1e308')['result']);
        self::assertSame('1e400', $value('"1e400"')['result']);
        foreach (['1e400', '-1E+999', '[{"a":1e0400}]', str_repeat('9', 400) . '.5'] as $beyond) {
            $reply = $value($beyond);
            self::assertInstanceOf(ProtocolException::class, $reply['error'], $beyond);
            self::assertSame('i', $reply['id'], 'the id is known, so only this call fails');
        }
    }

    /** @return iterable<string, array{string}> */
    public static function replies(): iterable
    {
        $of = static fn (string $members): string => '{"id":"' . self::ID . '"' . $members;
        yield 'an object' => [$of(',"result":{"a":[1,{"b":null}],"c":{}}}')];
        yield 'a string' => [$of(',"result":"\u00fc\"}"}')];
        yield 'zero' => [$of(',"result":0}')];
        yield 'false' => [$of(',"result":false}')];
        yield 'null' => [$of(',"result":null}')];
        yield 'beyond 64 bits' => [$of(',"result":[9223372036854775808]}')];
        yield 'infinity' => [$of(',"result":[1e400]}')];
        yield 'digits in a string' => [$of(',"result":"1e400"}')];
        yield 'white space' => [$of(",\"result\": \t[ 1 ]\n}")];
        yield 'white space at the end' => [$of(",\"result\":[1]}\n")];
        yield 'a null error next to the result' => [$of(',"result":1,"error":null}')];
        yield 'an error next to the result' => [$of(',"result":1,"error":{"code":1,"message":"m"}}')];
        yield 'two results' => [$of(',"result":1,"result":2}')];
        yield 'two ids' => [$of(',"result":1,"id":"other"}')];
        yield 'another member' => [$of(',"result":{},"more":{}}')];
        yield 'an error' => [$of(',"error":{"code":-32601,"message":"m"}}')];
        yield 'neither result nor error' => [$of('}')];
        yield 'the result first' => ['{"result":1,"id":"' . self::ID . '"}'];
        yield 'another id' => ['{"id":"i","result":1}'];
        yield 'no id' => ['{"result":1}'];
        yield 'cut off' => [$of(',"result":[1,2')];
        yield 'an empty result' => [$of(',"result":}')];
        yield 'the end missing' => [$of(',"result":')];
        yield 'a surplus bracket' => [$of(',"result":[1]]}')];
        yield 'a surplus brace' => [$of(',"result":{}}}')];
        yield 'two replies' => [$of(',"result":{}}') . $of(',"result":{}}')];
        yield 'not UTF-8' => [$of(",\"result\":\"\xff\"}")];
        yield 'the maximum nesting' => [$of(',"result":' . str_repeat('[', 511) . str_repeat(']', 511) . '}')];
        yield 'too deep' => [$of(',"result":' . str_repeat('[', 512) . str_repeat(']', 512) . '}')];
        yield 'an empty payload' => [''];
    }

    /** @dataProvider replies */
    public function testDecodesAReplyIdenticallyWithAndWithoutAnExpectedId(string $payload): void
    {
        $outcome = static function (bool $associative, ?string $id) use ($payload): array {
            try {
                $reply = Envelope::reply($payload, $associative, $id);
            } catch (ProtocolException $failure) {
                return [$failure->getMessage()];
            }
            $error = $reply['error'] ?? null;

            return [
                $reply['id'] ?? null,
                $reply['result'] ?? null,
                isset($error) ? Envelope::error($error)->getMessage() : null,
            ];
        };
        foreach ([true, false] as $associative) {
            self::assertEquals($outcome($associative, null), $outcome($associative, self::ID));
        }
    }

    public function testReturnsJsonObjectsAsArraysOrAsObjects(): void
    {
        $host = new FakeHost();
        self::assertSame(['a' => ['b' => 1]], $host->client()->call('system.echo', ['a' => ['b' => 1]]));
        $result = $host->client(new Options(associative: false))->call('system.echo', ['a' => ['b' => 1]]);
        self::assertEquals((object) ['a' => (object) ['b' => 1]], $result);
    }

    public function testIdsAreUniqueUuidsOfVersion4(): void
    {
        $pattern = '/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/D';
        $seen = [];
        $wrong = [];
        for ($i = 0; $i < 1_000_000; $i++) {
            $id = Uuid::v4();
            if (preg_match($pattern, $id) !== 1) {
                $wrong[] = $id;
            }
            $seen[hash('xxh64', $id, true)] = true;
        }
        self::assertSame([], $wrong);
        self::assertCount(1_000_000, $seen);
    }

    public function testDigitsOfIdsAreUniformlyDistributed(): void
    {
        $counts = [];
        for ($i = 0; $i < 16_000; $i++) {
            foreach (str_split(str_replace('-', '', Uuid::v4())) as $at => $digit) {
                $counts[$at][$digit] = ($counts[$at][$digit] ?? 0) + 1;
            }
        }
        foreach ($counts as $at => $digits) {
            self::assertCount($at === 12 ? 1 : ($at === 16 ? 4 : 16), $digits, "digit $at");
            // The bound is more than eight standard deviations away for random digits.
            self::assertLessThan(16_000 / count($digits) * ($at === 12 ? 2 : 1.5), max($digits), "digit $at");
        }
    }

    /** @return iterable<string, array{callable, string}> */
    public static function invalidArguments(): iterable
    {
        yield 'no time' => [static fn () => new Options(timeout: 0.0), 'timeout must be'];
        yield 'not a number' => [static fn () => new Options(timeout: NAN), 'timeout must be'];
        yield 'no connections' => [
            static fn () => new Options(maxConnections: 0),
            'maxConnections must be between 1 and 1000, not 0',
        ];
        yield 'more in flight than a host reads' => [
            static fn () => new Options(maxInFlightPerConnection: 1_025),
            'maxInFlightPerConnection must be',
        ];
        yield 'frames above 4 GiB' => [static fn () => new Options(maxFrameBytes: 1 << 32), 'maxFrameBytes must be'];
        yield 'no address' => [static fn () => new UnixConnector('unix://'), 'write unix:///path'];
        yield 'another transport' => [static fn () => new UnixConnector('tcp://127.0.0.1:1'), '"tcp://127.0.0.1:1"'];
        yield 'a path that PHP would cut' => [
            static fn () => new UnixConnector('unix:///' . str_repeat('x', 107)),
            'has 108 bytes, but the system allows only 107',
        ];
        yield 'a NUL' => [static fn () => new UnixConnector("unix:///a\0b"), 'is not the address of a Unix socket'];
        yield 'persistent and relative' => [
            static fn () => new PersistentConnector('unix://run/x.sock', 1),
            'the option persistent needs an absolute socket path, not run/x.sock',
        ];
        yield 'a negative time-out' => [
            static fn () => (new FakeHost())->client()->call('system.ping', timeout: -1.0),
            'timeout must be between 0 and 86400, not -1',
        ];
        yield 'a message without a method' => [
            static fn () => (new FakeHost())->client()->sendAsync([], 'strlen'),
            'sendAsync() needs a message with a string "method"',
        ];
        yield 'a batch of other values' => [
            static fn () => (new FakeHost())->client()->batch(['system.ping']),
            'the call with the key "0" is not [method, params]',
        ];
    }

    /** @dataProvider invalidArguments */
    public function testRejectsInvalidOptionsAddressesAndArguments(callable $make, string $message): void
    {
        $this->expectException(InvalidRequestException::class);
        $this->expectExceptionMessage($message);
        $make();
    }
}
