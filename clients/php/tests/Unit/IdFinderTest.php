<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Wire\IdFinder;
use PHPUnit\Framework\TestCase;

/**
 * Tests that the id of a reply is found without decoding the rest.
 */
final class IdFinderTest extends TestCase
{
    /** @return iterable<string, array{string, ?string}> */
    public static function texts(): iterable
    {
        $deep = str_repeat('[', 100_000) . str_repeat(']', 100_000);
        yield 'first' => ['{"id":"a","result":1}', 'a'];
        yield 'first, then cut off' => ['{"id":"a","result":[1,2', 'a'];
        yield 'last, behind a deep value' => ["{\"result\":$deep,\"id\":\"a\"}", 'a'];
        yield 'last, behind brackets in strings' => ['{"result":{"x":"]}\"","y":["{"]},"id":"a"}', 'a'];
        yield 'last, behind scalars' => ['{ "result" : -1.5e3 , "error":null,"id" :"a" }', 'a'];
        yield 'with escapes' => ['{"id":"\u0061\"b"}', 'a"b'];
        yield 'only in the result' => ['{"result":{"id":"b"}}', null];
        yield 'behind the cut' => ['{"result":"xxx', null];
        yield 'cut off' => ['{"id":"abc', null];
        yield 'a number' => ['{"id":1}', null];
        yield 'an array' => ['["id","a"]', null];
        yield 'nothing' => ['', null];
        yield 'a large string' => ['{"result":"' . str_repeat('x\"', 2_000_000) . '","id":"a"}', 'a'];
    }

    /** @dataProvider texts */
    public function testFindsTheIdOfTheEnvelope(string $text, ?string $id): void
    {
        self::assertSame($id, IdFinder::find($text));
    }
}
