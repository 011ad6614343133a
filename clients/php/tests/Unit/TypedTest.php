<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Testing\FakeHost;
use Jackfield\Tests\Support\Php81Check;
use Jackfield\Typed\Encode;
use Jackfield\Wire\Envelope;
use PHPUnit\Framework\TestCase;

/**
 * Tests what classes that `jackfield generate php` writes need of the client, and how they are
 * written.
 */
final class TypedTest extends TestCase
{
    private const GENERATED = __DIR__ . '/../../../../tests/typed-php/generated';

    public function testSendsDigitsAsAnInteger(): void
    {
        self::assertSame('{"id":18446744073709551615}', self::sent(['id' => Encode::integer('18446744073709551615')]));
        self::assertSame('[-9223372036854775809,7,8]', self::sent([
            Encode::integer('-9223372036854775809'), Encode::integer('7'), Encode::integer(8),
        ]));
        // Other strings stay strings, also those that only begin with digits.
        foreach (['', '-0', '007', '1.5', '1e3', "1\n", 'x'] as $text) {
            self::assertSame($text, Encode::integer($text));
        }
    }

    public function testChangesNoTextThatLooksLikeAnInteger(): void
    {
        self::sent(Encode::integer('18446744073709551615'));
        self::assertNull(Envelope::$integerMark, 'further requests pay nothing');

        $params = ['id' => Encode::integer('18446744073709551615'), 'text' => '":18446744073709551615"'];
        self::assertSame(
            '{"id":18446744073709551615,"text":"\":18446744073709551615\""}',
            self::sent($params)
        );
    }

    public function testSendsMapsAsObjectsAndListsAsLists(): void
    {
        self::assertSame('{}', self::sent(Encode::map([])));
        self::assertSame('{"0":1,"1":2}', self::sent(Encode::map([1, 2])));
        self::assertSame('[]', self::sent(Encode::list([])));
        self::assertSame('[2,3]', self::sent(Encode::list([1 => 2, 5 => 3])));
        self::assertSame('{"a":{},"b":[[18446744073709551615]],"c":null}', self::sent(Encode::object(
            ['a' => [], 'b' => [['18446744073709551615']], 'c' => null],
            [
                'a' => Encode::map(...),
                'b' => static fn (mixed $value): mixed => Encode::list(
                    $value,
                    static fn (mixed $value): mixed => Encode::list($value, Encode::integer(...))
                ),
                'c' => Encode::map(...),
                'd' => Encode::map(...),
            ]
        )));
        self::assertSame(['a' => 0, 'b' => false], Encode::present(['a' => 0, 'b' => false, 'c' => null]));
        foreach ([null, 'text', 7] as $other) {
            self::assertSame([$other, $other, $other], [Encode::map($other), Encode::list($other), Encode::object($other)]);
        }
    }

    public function testAGeneratedClassPassesItsOptionsAndThrowsDeclaredErrors(): void
    {
        require_once self::GENERATED . '/Device.php';
        require_once self::GENERATED . '/Device/Status.php';
        require_once self::GENERATED . '/Device/Error404Exception.php';
        require_once self::GENERATED . '/Device/Error507Exception.php';
        $host = (new FakeHost())
            ->on('device.status.get', static fn (): never => throw new \Jackfield\Exception\RemoteException(404, 'no', ['a' => 1]))
            ->on('device.status.update', static fn (): never => throw new \Jackfield\Exception\RemoteException(400, 'other'));
        $device = (new \Acme\Rpc\Device($host->client()))->with(meta: ['tenant' => 'acme']);

        try {
            $device->statusGet('d');
            self::fail('nothing was thrown');
        } catch (\Acme\Rpc\Device\Error404Exception $error) {
            self::assertSame([404, 'no', ['a' => 1]], [$error->getCode(), $error->getMessage(), $error->data()]);
        }
        try {
            $device->statusUpdate('d', \Acme\Rpc\Device\Status::Busy);
            self::fail('nothing was thrown');
        } catch (\Jackfield\Exception\RemoteException $error) {
            self::assertSame(\Jackfield\Exception\RemoteException::class, $error::class, 'it is not declared');
        }
        self::assertSame(
            [['deviceId' => 'd'], ['deviceId' => 'd', 'status' => 'busy']],
            array_column($host->calls(), 'params')
        );
        self::assertSame(['tenant' => 'acme'], $host->contexts()[0]['meta'] ?? null);
    }

    public function testGeneratedClassesUseOnlyFeaturesOfPhp81AndFitTheirLines(): void
    {
        $files = [...glob(self::GENERATED . '/*.php'), ...glob(self::GENERATED . '/*/*.php')];
        self::assertGreaterThan(5, count($files));
        foreach ($files as $file) {
            $code = (string) file_get_contents($file);
            self::assertSame([], Php81Check::violations($code), $file);
            self::assertSame([], Php81Check::interruptibleArguments($code), $file);
            self::assertDoesNotMatchRegularExpression('/[ \t]$|^.{121}|\t/m', $code, $file);
            self::assertMatchesRegularExpression('/[^\n]\n\z/', $code, $file);
        }
    }

    private static function sent(mixed $params): string
    {
        $envelope = Envelope::request('1', 'm', $params);

        return substr($envelope, strlen('{"id":"1","method":"m","params":'));
    }
}
