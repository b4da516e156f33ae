import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.security.PrivateKey;
import java.security.cert.CertPathBuilder;
import java.security.cert.CertStore;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import javax.mail.internet.MimeBodyPart;
import javax.mail.internet.MimeMessage;
import javax.mail.internet.MimeMultipart;
import javax.mail.Session;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.CMSSignedDataParser;
import org.bouncycastle.cms.CMSSignedDataStreamGenerator;
import org.bouncycastle.cms.CMSSignerDigestMismatchException;
import org.bouncycastle.cms.CMSTypedStream;
import org.bouncycastle.cms.SignerInfoGenerator;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.SignerInformationStore;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.mail.smime.SMIMESigned;
import org.bouncycastle.mail.smime.SMIMESignedGenerator;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.DigestCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.util.Selector;
import org.bouncycastle.util.Store;

/** SignedData, in CMS and in S/MIME. */
final class Signing {
    private Signing() {
    }

    static byte[] make(Request r) throws Exception {
        List<Request.Person> signers = r.people("signer");
        List<X509Certificate> certificates = new ArrayList<>();
        for (String name : new String[] {"signer", "countersigner"}) {
            for (Request.Person p : r.people(name)) {
                certificates.addAll(p.chain);
            }
        }
        if (r.smime()) {
            SMIMESignedGenerator generator = new SMIMESignedGenerator();
            for (Request.Person p : signers) {
                generator.addSignerInfoGenerator(signer(r, p));
            }
            generator.addCertificates(new JcaCertStore(certificates));
            if (!r.has("detached")) {
                return Request.message(generator.generateEncapsulated(r.entity()));
            }
            MimeMessage message = new MimeMessage((Session) null);
            MimeMultipart parts = generator.generate(r.entity());
            message.setContent(parts, parts.getContentType());
            message.saveChanges();
            return Request.octets(message);
        }
        if (r.has("ber")) {
            CMSSignedDataStreamGenerator generator = new CMSSignedDataStreamGenerator();
            for (Request.Person p : signers) {
                generator.addSignerInfoGenerator(signer(r, p));
            }
            generator.addCertificates(new JcaCertStore(certificates));
            boolean opaque = !r.has("detached");
            return counter(r, Request.collect(out -> generator.open(out, opaque), r.input()));
        }
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        generator.setDefiniteLengthEncoding(true);
        for (Request.Person p : signers) {
            generator.addSignerInfoGenerator(signer(r, p));
        }
        generator.addCertificates(new JcaCertStore(certificates));
        return counter(r,
            generator.generate(new CMSProcessableByteArray(r.input()), !r.has("detached")).getEncoded());
    }

    /** Adds a countersignature to the first signer, if one is asked for. */
    private static byte[] counter(Request r, byte[] message) throws Exception {
        if (!r.has("countersigner")) {
            return message;
        }
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        for (Request.Person p : r.people("countersigner")) {
            generator.addSignerInfoGenerator(signer(r, p));
        }
        CMSSignedData signed = new CMSSignedData(message);
        List<SignerInformation> signers = new ArrayList<>(signed.getSignerInfos().getSigners());
        SignerInformation first = signers.get(0);
        signers.set(0, SignerInformation.addCounterSigners(first, generator.generateCounterSigners(first)));
        return CMSSignedData.replaceSigners(signed, new SignerInformationStore(signers)).getEncoded();
    }

    private static SignerInfoGenerator signer(Request r, Request.Person p) throws Exception {
        ContentSigner signer = new JcaContentSignerBuilder(algorithm(r, p.key)).setProvider("BC").build(p.key);
        JcaSignerInfoGeneratorBuilder builder = new JcaSignerInfoGeneratorBuilder(digests());
        builder.setDirectSignature(r.has("noattrs"));
        if (r.has("keyid")) {
            return builder.build(signer, p.keyIdentifier());
        }
        return builder.build(signer, p.certificate());
    }

    /** The name by which the library knows a signature algorithm. */
    private static String algorithm(Request r, PrivateKey key) throws Request.Mistake {
        String digest = r.get("digest").toUpperCase();
        switch (key.getAlgorithm()) {
            case "RSA": return digest + (r.has("pss") ? "WITHRSAANDMGF1" : "WITHRSA");
            case "EC": case "ECDSA": return digest + "WITHECDSA";
            case "Ed25519": case "Ed448": return key.getAlgorithm();
            default: throw new Request.Mistake("cannot sign with " + key.getAlgorithm());
        }
    }

    private static DigestCalculatorProvider digests() throws Exception {
        return new JcaDigestCalculatorProviderBuilder().setProvider("BC").build();
    }

    @SuppressWarnings("unchecked")
    static byte[] open(Request r) throws Exception {
        if (r.smime()) {
            return openEntity(r);
        }
        byte[] detached = r.has("detached") ? r.read(r.get("detached")) : null;
        if (r.has("ber")) {
            CMSTypedStream stream = detached == null ? null : new CMSTypedStream(new ByteArrayInputStream(detached));
            ByteArrayInputStream in = new ByteArrayInputStream(r.input());
            CMSSignedDataParser parser = stream == null
                ? new CMSSignedDataParser(digests(), in) : new CMSSignedDataParser(digests(), stream, in);
            if (parser.getSignedContent() == null) {
                throw new Peer.Refused("the message has no content");
            }
            byte[] content = parser.getSignedContent().getContentStream().readAllBytes();
            Store<X509CertificateHolder> certificates = parser.getCertificates();
            verify(r, parser.getSignerInfos(), certificates);
            return content;
        }
        CMSSignedData signed = detached == null ? new CMSSignedData(r.input())
            : new CMSSignedData(new CMSProcessableByteArray(detached), r.input());
        if (signed.getSignedContent() == null) {
            throw new Peer.Refused("the message has no content");
        }
        verify(r, signed.getSignerInfos(), signed.getCertificates());
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        signed.getSignedContent().write(out);
        return out.toByteArray();
    }

    private static byte[] openEntity(Request r) throws Exception {
        MimeBodyPart entity = r.entity();
        boolean multipart = entity.isMimeType("multipart/signed");
        if (multipart != r.has("detached")) {
            throw new Peer.Refused("the message is " + entity.getContentType());
        }
        SMIMESigned signed = multipart ? new SMIMESigned((MimeMultipart) entity.getContent()) : new SMIMESigned(entity);
        verify(r, signed.getSignerInfos(), signed.getCertificates());
        if (multipart) {
            return Request.octets(signed.getContent());
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        signed.getSignedContent().write(out);
        return out.toByteArray();
    }

    /** Refuses the message unless every signer and countersigner is good. */
    private static void verify(Request r, SignerInformationStore signers, Store<X509CertificateHolder> certificates)
            throws Exception {
        Collection<SignerInformation> all = signers.getSigners();
        if (all.isEmpty()) {
            throw new Peer.Refused("the message has no signer");
        }
        for (SignerInformation signer : all) {
            verify(r, signer, certificates);
            if (signer.getCounterSignatures() != null) {
                for (SignerInformation counter : signer.getCounterSignatures().getSigners()) {
                    verify(r, counter, certificates);
                }
            }
        }
    }

    @SuppressWarnings("unchecked")
    private static void verify(Request r, SignerInformation signer, Store<X509CertificateHolder> certificates)
            throws Exception {
        Collection<X509CertificateHolder> matches = certificates.getMatches((Selector<X509CertificateHolder>) signer.getSID());
        if (matches.isEmpty()) {
            throw new Peer.Refused("the message lacks the signer's certificate");
        }
        X509CertificateHolder holder = matches.iterator().next();
        X509Certificate certificate = new JcaX509CertificateConverter().setProvider("BC").getCertificate(holder);
        try {
            if (!signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(certificate))) {
                throw new Peer.Refused("the signature is not valid");
            }
        } catch (CMSSignerDigestMismatchException e) {
            throw new Peer.Refused("the content is not what was signed");
        }
        trust(r, certificate, certificates);
    }

    /** Refuses the message unless a path leads from a root to the certificate. */
    private static void trust(Request r, X509Certificate certificate, Store<X509CertificateHolder> others)
            throws Exception {
        Set<TrustAnchor> anchors = new HashSet<>();
        for (X509Certificate root : r.certificates(r.get("roots"))) {
            anchors.add(new TrustAnchor(root, null));
        }
        List<X509Certificate> pool = new ArrayList<>(Collections.singleton(certificate));
        for (X509CertificateHolder holder : others.getMatches(null)) {
            pool.add(new JcaX509CertificateConverter().setProvider("BC").getCertificate(holder));
        }
        X509CertSelector target = new X509CertSelector();
        target.setCertificate(certificate);
        PKIXBuilderParameters parameters = new PKIXBuilderParameters(anchors, target);
        parameters.setRevocationEnabled(false);
        parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(pool), "BC"));
        CertPathBuilder.getInstance("PKIX", "BC").build(parameters);
        List<String> purposes = certificate.getExtendedKeyUsage();
        if (purposes != null && !purposes.contains("1.3.6.1.5.5.7.3.4") && !purposes.contains("2.5.29.37.0")) {
            throw new Peer.Refused("the certificate is not for mail");
        }
        boolean[] usage = certificate.getKeyUsage();
        if (usage != null && !usage[0] && !usage[1]) {
            throw new Peer.Refused("the certificate is not for signing");
        }
    }
}
